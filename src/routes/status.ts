import Type from 'typebox'
import type { Invalid } from '../discovery/contract.js'
import { ApiError } from '../errors.js'
import { type HealthRules, healthStatuses, statusNow } from '../health/state.js'
import { Mode } from '../mode.js'
import type { EffectiveOptions } from '../pipeline/options.js'
import type { Roster } from '../pipeline/roster.js'
import { Statistics } from '../statistics.js'
import { ErrorBody, Problem, type Routes } from './http.js'
import { Queue, type QueueRoutes, queueView } from './queue.js'

/** What is known of discovery, for `/status`. */
export interface DiscoveryStatus {
  readonly source: string
  /** Milliseconds since the epoch. */
  readonly lastSuccess: number | undefined
  readonly lastError: string | undefined
}

/** Whether the service takes publishes, and if not, why. */
export type Readiness = 'ready' | 'starting' | 'draining'

export interface StatusRoutes extends Pick<QueueRoutes, 'store' | 'workers' | 'now'> {
  readonly version: string
  readonly startedAt: number
  readonly roster: Roster
  readonly defaults: EffectiveOptions
  readonly healthRules: Pick<HealthRules, 'intervalMs'>
  discovery(): DiscoveryStatus
  readiness(): Readiness
  inFlight(): { publishes: number; deliveries: number }
  mode(): Mode
  publishStatistics(): Statistics['publish']
  /** Critical alerts that no person can know of yet; the oldest one's age in milliseconds. */
  undelivered(): { count: number; oldestAgeMs: number }
}

const Counts = Type.Record(Type.String(), Type.Integer())
const Status = Type.Object({
  version: Type.String(),
  uptime_seconds: Type.Number(),
  status: Type.Enum(['ready', 'starting', 'draining']),
  mode: Mode,
  options: Type.Object({
    timeout_ms: Type.Number(),
    adaptive_timeout: Type.Boolean(),
    max_concurrent: Type.Integer(),
    check_health: Type.Boolean(),
    health_strategy: Type.String(),
    respect_circuit_breakers: Type.Boolean()
  }),
  discovery: Type.Object({
    source: Type.String(),
    last_success: Type.Union([Type.String(), Type.Null()]),
    age_seconds: Type.Union([Type.Number(), Type.Null()]),
    last_error: Type.Union([Type.String(), Type.Null()]),
    targets: Type.Integer(),
    invalid: Type.Array(
      Type.Object({
        source: Type.String(),
        name: Type.Optional(Type.String()),
        stale: Type.Boolean(),
        problems: Type.Array(Problem)
      })
    )
  }),
  targets: Type.Object({
    total: Type.Integer(),
    enabled: Type.Integer(),
    by_type: Counts,
    by_health: Counts,
    by_circuit: Counts
  }),
  in_flight: Type.Object({ publishes: Type.Integer(), deliveries: Type.Integer() }),
  queue: Queue,
  publish: Statistics.properties.publish
})

/** Status and probes. */
export function statusRoutes(app: Routes, deps: StatusRoutes): void {
  for (const path of ['/status', '/api/v1/publish/parallel/status']) {
    app.get(
      path,
      {
        config: { role: 'read' },
        schema: { summary: 'The service’s real state', tags: ['status'], response: { 200: Status } }
      },
      () => status(deps)
    )
  }
  app.get(
    '/healthz',
    {
      config: { role: 'open' },
      schema: {
        summary: 'Liveness',
        tags: ['status'],
        response: { 200: Type.Object({ status: Type.Literal('alive') }) }
      }
    },
    async () => ({ status: 'alive' as const })
  )
  app.get(
    '/readyz',
    {
      config: { role: 'open' },
      schema: {
        summary: 'Readiness: targets known, queue opened, not draining',
        tags: ['status'],
        response: { 200: Type.Object({ status: Type.Literal('ready') }), 503: ErrorBody }
      }
    },
    async () => {
      const readiness = deps.readiness()
      if (readiness !== 'ready')
        throw new ApiError(readiness === 'draining' ? 'DRAINING' : 'NOT_READY', { retryAfterSeconds: 5 })
      return { status: 'ready' as const }
    }
  )
}

async function status(deps: StatusRoutes) {
  const { roster, defaults, now } = deps
  const at = now()
  const all = roster.all()
  const { source, lastSuccess, lastError } = deps.discovery()
  const byHealth = Object.fromEntries(healthStatuses.map(name => [name, 0]))
  const byCircuit: Record<string, number> = { closed: 0, open: 0, half_open: 0 }
  const byType: Record<string, number> = {}
  for (const live of all) {
    byHealth[statusNow(live.health, at, deps.healthRules)]!++
    byCircuit[live.breaker.state]!++
    byType[live.type] = (byType[live.type] ?? 0) + 1
  }
  return {
    version: deps.version,
    uptime_seconds: Math.round((at - deps.startedAt) / 1000),
    status: deps.readiness(),
    mode: deps.mode(),
    options: {
      timeout_ms: defaults.timeoutMs,
      adaptive_timeout: defaults.adaptive,
      max_concurrent: defaults.maxConcurrent,
      check_health: defaults.checkHealth,
      health_strategy: defaults.healthStrategy,
      respect_circuit_breakers: defaults.respectCircuitBreakers
    },
    discovery: {
      source,
      last_success: lastSuccess === undefined ? null : new Date(lastSuccess).toISOString(),
      age_seconds: lastSuccess === undefined ? null : Math.round((at - lastSuccess) / 1000),
      last_error: lastError ?? null,
      targets: all.length,
      invalid: roster.invalid().map(shown)
    },
    targets: {
      total: all.length,
      enabled: roster.enabled().length,
      by_type: byType,
      by_health: byHealth,
      by_circuit: byCircuit
    },
    in_flight: deps.inFlight(),
    queue: await queueView(deps),
    publish: deps.publishStatistics()
  }
}

function shown({ source, name, stale, problems }: Invalid) {
  return { source, ...(name === undefined ? {} : { name }), stale, problems: problems.map(problem => ({ ...problem })) }
}
