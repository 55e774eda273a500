import Type, { type Static } from 'typebox'
import { ApiError } from '../errors.js'
import { type HealthRules, healthStatuses, statusNow } from '../health/state.js'
import { inFlightAt, type LiveTarget } from '../pipeline/live.js'
import { TargetResult } from '../pipeline/result.js'
import type { Roster } from '../pipeline/roster.js'
import { errorReasons } from '../targets/contract.js'
import { bodyObject, ErrorBody, pageFrom, pageOf, paging, type Routes } from './http.js'

export interface TargetRoutes {
  readonly roster: Roster
  readonly healthRules: Pick<HealthRules, 'intervalMs'>
  checkNow(live: LiveTarget): Promise<unknown>
  /** Sends a marked test alert to one target and resolves it. */
  testAlert(live: LiveTarget): Promise<Static<typeof TargetResult>>
  /** Starts a refresh; or says how long to wait, in milliseconds, or that one is under way. */
  refresh(): { kind: 'started' } | { kind: 'running' } | { kind: 'too_soon'; waitMs: number }
  /** Closes the circuit by hand, and makes what is owed due. */
  resetCircuit(live: LiveTarget): void
  now(): number
}

const Name = Type.Object({ name: Type.String() })
const Time = (description: string) => Type.Union([Type.String(), Type.Null()], { description })

const HealthView = Type.Object({
  target_name: Type.String(),
  status: Type.Enum([...healthStatuses]),
  latency_ms: Type.Union([Type.Number(), Type.Null()], { description: 'Of the last check, in milliseconds.' }),
  last_check: Time('RFC 3339.'),
  last_success: Time('RFC 3339.'),
  consecutive_failures: Type.Integer(),
  error_reason: Type.Union([Type.Enum([...errorReasons]), Type.Null()])
})
type HealthView = Static<typeof HealthView>

const CircuitView = Type.Object({
  state: Type.Enum(['closed', 'open', 'half_open']),
  failures: Type.Integer({ description: 'Failures in a row while closed.' }),
  reason: Type.Union([Type.Enum([...errorReasons]), Type.Null()], { description: 'Why it opened.' }),
  since: Time('When it opened, RFC 3339.'),
  next_probe: Time('When the next attempt may go, RFC 3339.')
})

export const TargetView = Type.Object({
  name: Type.String(),
  type: Type.String(),
  enabled: Type.Boolean(),
  send_resolved: Type.Boolean(),
  url: Type.String({ description: 'Scheme and host only.' }),
  filtered: Type.Boolean({ description: 'Whether it has a filter.' }),
  health: HealthView,
  circuit: CircuitView,
  paused_until: Time('A Retry-After keeps attempts away until then, RFC 3339.'),
  in_flight: Type.Integer(),
  last_result: Type.Union([
    Type.Object({
      at: Type.String(),
      success: Type.Boolean(),
      status_code: Type.Union([Type.Integer(), Type.Null()]),
      error_reason: Type.Union([Type.Enum([...errorReasons]), Type.Null()]),
      duration_ms: Type.Number()
    }),
    Type.Null()
  ])
})
export type TargetView = Static<typeof TargetView>

const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString())

/** A target's health as the API shows it. */
function healthView(live: LiveTarget, now: number, rules: Pick<HealthRules, 'intervalMs'>): HealthView {
  const { health } = live
  return {
    target_name: live.name,
    status: statusNow(health, now, rules),
    latency_ms: health.latencyMs ?? null,
    last_check: iso(health.lastCheck),
    last_success: iso(health.lastSuccess),
    consecutive_failures: health.consecutiveFailures,
    error_reason: health.errorReason ?? null
  }
}

function circuitView({ breaker }: LiveTarget): Static<typeof CircuitView> {
  if (breaker.state === 'closed')
    return { state: 'closed', failures: breaker.failures, reason: null, since: null, next_probe: null }
  return {
    state: breaker.state,
    failures: 0,
    reason: breaker.reason,
    since: iso(breaker.since),
    next_probe: breaker.state === 'open' ? iso(breaker.until) : null
  }
}

/** A target as the API shows it: without its path, credentials and headers. */
export function targetView(live: LiveTarget, now: number, rules: Pick<HealthRules, 'intervalMs'>): TargetView {
  const { settings, wire } = live.target
  const { last } = live
  return {
    name: live.name,
    type: live.type,
    enabled: settings.enabled,
    send_resolved: settings.send_resolved,
    url: wire.origins.join(', '),
    filtered: settings.filter !== undefined,
    health: healthView(live, now, rules),
    circuit: circuitView(live),
    paused_until: live.pausedUntil > now ? iso(live.pausedUntil) : null,
    in_flight: inFlightAt(live),
    last_result: last
      ? {
          at: iso(last.at)!,
          success: last.success,
          status_code: last.statusCode ?? null,
          error_reason: last.reason ?? null,
          duration_ms: last.durationMs
        }
      : null
  }
}

/** Targets, their health, and what can be done to one. */
export function targetRoutes(app: Routes, deps: TargetRoutes): void {
  const { roster, healthRules, now } = deps
  const ListQuery = Type.Object({
    ...paging,
    type: Type.Optional(Type.String()),
    enabled: Type.Optional(Type.Boolean()),
    health: Type.Optional(Type.Enum([...healthStatuses]))
  })

  const find = ({ name }: Static<typeof Name>): LiveTarget => {
    const live = roster.get(name)
    if (!live) throw new ApiError('TARGET_NOT_FOUND')
    return live
  }

  app.get(
    '/api/v1/targets',
    {
      config: { role: 'read' },
      schema: {
        summary: 'Targets with health, circuit and last result',
        tags: ['targets'],
        querystring: ListQuery,
        response: { 200: pageOf(TargetView), 400: ErrorBody }
      }
    },
    async request => {
      const { type, enabled, health, ...page } = request.query
      const at = now()
      const wanted = roster
        .all()
        .filter(
          live =>
            (type === undefined || live.type === type) &&
            (enabled === undefined || live.target.settings.enabled === enabled) &&
            (health === undefined || statusNow(live.health, at, healthRules) === health)
        )
      const { items, next_cursor } = pageFrom(wanted, live => live.name, page)
      return { items: items.map(live => targetView(live, at, healthRules)), next_cursor }
    }
  )

  app.get(
    '/api/v1/targets/health',
    {
      config: { role: 'read' },
      schema: {
        summary: 'Health of all targets',
        tags: ['health'],
        querystring: Type.Object(paging),
        response: { 200: pageOf(HealthView), 400: ErrorBody }
      }
    },
    async request => {
      const { items, next_cursor } = pageFrom(roster.all(), live => live.name, request.query)
      return { items: items.map(live => healthView(live, now(), healthRules)), next_cursor }
    }
  )

  app.get(
    '/api/v1/targets/:name',
    {
      config: { role: 'read' },
      schema: { summary: 'One target', tags: ['targets'], params: Name, response: { 200: TargetView, 404: ErrorBody } }
    },
    async request => targetView(find(request.params), now(), healthRules)
  )

  app.get(
    '/api/v1/targets/:name/health',
    {
      config: { role: 'read' },
      schema: {
        summary: 'One target’s health',
        tags: ['health'],
        params: Name,
        response: { 200: HealthView, 404: ErrorBody }
      }
    },
    async request => healthView(find(request.params), now(), healthRules)
  )

  app.post(
    '/api/v1/targets/:name/check',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Check a target’s health now',
        tags: ['health'],
        params: Name,
        response: { 200: HealthView, 404: ErrorBody }
      }
    },
    async request => {
      bodyObject(request.body)
      const live = find(request.params)
      await deps.checkNow(live)
      return healthView(live, now(), healthRules)
    }
  )

  app.post(
    '/api/v1/targets/:name/test',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Send a marked test alert to a target, then resolve it',
        tags: ['targets'],
        params: Name,
        response: { 200: TargetResult, 404: ErrorBody }
      }
    },
    async request => {
      bodyObject(request.body)
      return deps.testAlert(find(request.params))
    }
  )

  app.post(
    '/api/v1/targets/:name/circuit/reset',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Close a target’s circuit',
        tags: ['targets'],
        params: Name,
        response: { 200: TargetView, 404: ErrorBody }
      }
    },
    async request => {
      bodyObject(request.body)
      const live = find(request.params)
      deps.resetCircuit(live)
      return targetView(live, now(), healthRules)
    }
  )

  app.post(
    '/api/v1/targets/refresh',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Look for targets now: one at a time, once a minute',
        tags: ['targets'],
        response: { 202: Type.Object({ status: Type.Literal('started') }), 409: ErrorBody, 429: ErrorBody }
      }
    },
    async (request, reply) => {
      bodyObject(request.body)
      const started = deps.refresh()
      if (started.kind === 'running') throw new ApiError('CONFLICT', { message: 'a refresh is under way' })
      if (started.kind === 'too_soon')
        throw new ApiError('TOO_MANY_REQUESTS', { retryAfterSeconds: Math.max(1, Math.ceil(started.waitMs / 1000)) })
      return reply.code(202).send({ status: 'started' })
    }
  )
}
