import { readFileSync } from 'node:fs'
import { getHeapStatistics } from 'node:v8'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { openAccess, readTokens } from './access.js'
import { buildApp } from './app.js'
import { type Config, listOf } from './config.js'
import { createDeliveryLog } from './delivery-log.js'
import type { DiscoveryEvents } from './discovery/contract.js'
import { openDiscovery } from './discovery/registry.js'
import { findDelivery } from './find-delivery.js'
import { createCheck } from './health/check.js'
import { createPoller, type PollerEvents } from './health/poller.js'
import { deadLetterLog, publishLog, rosterLog } from './log.js'
import { createMetrics } from './metrics.js'
import { createMode } from './mode.js'
import { createAbsence } from './pipeline/absence.js'
import { Crowd } from './pipeline/crowd.js'
import { createDeadLetters } from './pipeline/dead-letters.js'
import { createDeliver, type DeliveryEvents } from './pipeline/deliver.js'
import { createExplain } from './pipeline/explain.js'
import { resetCircuit } from './pipeline/gate.js'
import type { Job } from './pipeline/job.js'
import { defaultOptions } from './pipeline/options.js'
import { createOwed, type OwedEvents } from './pipeline/owed.js'
import { createPublish, type PublishEvents } from './pipeline/publish.js'
import { createRetry } from './pipeline/retry.js'
import { createRoster, type Roster, type RosterEvents } from './pipeline/roster.js'
import { sendTestAlert } from './pipeline/test-alert.js'
import { openStore } from './queues/registry.js'
import { createRenewal } from './renewal.js'
import type { Readiness } from './routes/status.js'
import { sentenceOf } from './schema.js'
import { createStatistics } from './statistics.js'
import { egress } from './targets/egress.js'
import { createSender } from './targets/send.js'

export interface ServiceOptions {
  readonly log: Logger
  /** Whether somebody named TARGETS_FILE, so that it must exist. */
  readonly targetsFileNamed: boolean
}

export interface Service {
  readonly app: FastifyInstance
  /** Where it listens, e.g. `http://127.0.0.1:8080`. */
  readonly url: string
  /** Drains: new publishes are refused, running ones get DRAIN_TIMEOUT, what is left is queued. Harmless the second time. */
  stop(): Promise<void>
}

const refreshEveryMs = 60_000
/** Of a large body under way: one of 20,000 alerts takes 26 bytes for each of its own; the rest is for what is retried. */
const heapPerByte = 64
/** Of a large entry's alert that is retried: 2 kB while five targets fail; the rest is for who publishes meanwhile. */
const heapPerAlert = 8_192
const heapBytes = getHeapStatistics().heap_size_limit
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

/** The only wiring: opens the store, finds the targets, listens. Rejects with a message that is safe to show. */
export async function startService(config: Config, { log, targetsFileNamed }: ServiceOptions): Promise<Service> {
  const now = Date.now
  const startedAt = now()
  const userAgent = `alert-fanout/${version}`
  const defaults = defaultOptions(config)
  const access = accessOf(config, log)
  const breakerRules = {
    failureThreshold: config.CIRCUIT_FAILURE_THRESHOLD,
    successThreshold: config.CIRCUIT_SUCCESS_THRESHOLD,
    openMs: config.CIRCUIT_OPEN_DURATION
  }
  const healthRules = {
    failureThreshold: config.HEALTH_FAILURE_THRESHOLD,
    degradedMs: config.HEALTH_DEGRADED_THRESHOLD,
    intervalMs: config.HEALTH_INTERVAL
  }

  const store = await openStore({
    queue: config.QUEUE,
    queueDir: config.QUEUE_DIR,
    ...(config.REDIS_URL ? { redisUrl: config.REDIS_URL } : {})
  })
  const warn = async () => {
    for (const warning of (await store.status()).warnings) log.warn({ queue: store.backend }, warning)
  }
  await warn()

  const otlp = config.OTEL_EXPORTER_OTLP_ENDPOINT
  // Imported only where it is used: nobody else pays for it.
  const tracing = otlp ? (await import('./tracing.js')).startTracing({ endpoint: otlp, version, log }) : undefined
  const tracer = tracing?.tracer
  const mode = createMode({ now })
  const statistics = createStatistics({ now })
  const deliveryLog = createDeliveryLog({ now })
  const logged = publishLog(log)
  const letters = deadLetterLog(log)
  const inHand = new Crowd<Job>()
  const renewal = createRenewal(target => discovery.works?.(target))

  const roster: Roster = createRoster(
    together<RosterEvents>(['appeared', 'gone', 'applied'], () => [
      metrics.roster,
      renewal,
      absence,
      rosterLog(log),
      {
        appeared(live, before) {
          if (before) void sender.retire(before)
          poller.appeared(live)
          retry.hasten(live.name)
        },
        gone(live) {
          void sender.retire(live.target)
          poller.gone(live)
        },
        applied() {
          mode.apply(roster.enabled().length)
          if (roster.enabled().length === 0) log.warn('no target is enabled: alerts are counted but go nowhere')
        }
      }
    ])
  )
  const absence = createAbsence({ store, roster, now, retentionMs: config.DEAD_LETTER_RETENTION })
  const egressRules = egress(listOf(config.EGRESS_DENY), listOf(config.EGRESS_ALLOW))
  const sender = createSender(egressRules, userAgent)
  const owed = createOwed({
    store,
    now,
    maxPerTarget: config.QUEUE_MAX_PER_TARGET,
    retentionMs: config.DEAD_LETTER_RETENTION,
    events: together<OwedEvents>(['submitted', 'buried'], () => [
      metrics.owed,
      statistics.owed,
      deliveryLog,
      letters,
      { submitted: () => retry.wake() }
    ])
  })
  const deliver = createDeliver({
    store,
    owed,
    sender,
    tracer,
    breakerRules,
    now,
    random: Math.random,
    attemptTimeoutMs: config.ATTEMPT_TIMEOUT,
    retryRules: {
      baseMs: config.RETRY_BASE,
      maxDelayMs: config.RETRY_MAX_DELAY,
      maxAgeMs: config.RETRY_MAX_AGE,
      retentionMs: config.DEAD_LETTER_RETENTION
    },
    events: together<DeliveryEvents>(['started', 'attempted', 'settled', 'truncated', 'circuit', 'recovered'], () => [
      metrics.delivery,
      statistics.delivery,
      deliveryLog,
      logged,
      renewal,
      {
        started: job => inHand.add(job),
        settled: job => inHand.delete(job),
        circuit: live => live.breaker.state === 'closed' && retry.hasten(live.name),
        recovered: live => retry.hasten(live.name)
      }
    ])
  })
  const publish = createPublish({
    store,
    roster,
    deliver,
    tracer,
    now,
    ackTimeoutMs: config.ACK_TIMEOUT,
    dedupWindowMs: config.DEDUP_WINDOW,
    retentionMs: config.DEAD_LETTER_RETENTION,
    healthIntervalMs: config.HEALTH_INTERVAL,
    events: together<PublishEvents>(['published', 'cancelled', 'warn'], () => [
      metrics.publish,
      statistics.publish,
      logged
    ])
  })
  const retry = createRetry({
    store,
    roster,
    deliver,
    owed,
    now,
    workers: config.QUEUE_WORKERS,
    maxAlerts: heapBytes / heapPerAlert,
    failed: error =>
      log.warn({ error: error instanceof Error ? error.message : 'unknown' }, 'the queue could not be worked off')
  })
  const metrics = createMetrics({
    roster,
    store,
    retry,
    now,
    workers: config.QUEUE_WORKERS,
    inFlight: () => inHand.size,
    mode: mode.view,
    healthRules
  })
  const poller = createPoller({
    now,
    random: Math.random,
    check: createCheck(egressRules, userAgent),
    rules: { ...healthRules, timeoutMs: config.HEALTH_TIMEOUT, maxConcurrent: config.HEALTH_MAX_CONCURRENT },
    events: together<PollerEvents>(['checked'], () => [metrics.health, statistics.health])
  })
  const deadLetters = createDeadLetters({
    store,
    events: metrics.deadLetters,
    retentionMs: config.DEAD_LETTER_RETENTION,
    now
  })
  const discovered = { lastSuccess: undefined as number | undefined, lastError: undefined as string | undefined }
  const discovery = openDiscovery(
    config.DISCOVERY,
    {
      targetsFile: config.TARGETS_FILE,
      targetsFileNamed,
      k8sNamespaces: listOf(config.K8S_NAMESPACES),
      k8sLabelSelector: config.K8S_LABEL_SELECTOR,
      refreshIntervalMs: config.REFRESH_INTERVAL
    },
    together<DiscoveryEvents>(['looked'], () => [
      metrics.discovery,
      statistics.discovery,
      {
        looked(operation, _durationMs, error, message) {
          if (error === undefined) discovered.lastSuccess = now()
          discovered.lastError = error === undefined ? undefined : (message ?? error)
          if (message !== undefined) log.warn({ operation, error }, message)
        }
      }
    ])
  )

  let readiness: Readiness = 'starting'
  let refreshedAt = Number.NEGATIVE_INFINITY
  let refreshing = false
  const workers = () => ({ total: config.QUEUE_WORKERS, active: retry.active() })

  const app = await buildApp({
    log,
    version,
    access,
    bodyLimit: config.BODY_LIMIT,
    maxInFlight: config.MAX_IN_FLIGHT,
    maxLargeBytes: heapBytes / heapPerByte,
    publish: {
      publish: publish.publish,
      explain: createExplain({ store, roster, userAgent, now, healthIntervalMs: config.HEALTH_INTERVAL }),
      defaults,
      received: accepted => metrics.publish.received(accepted),
      now
    },
    targets: {
      roster,
      healthRules,
      now,
      checkNow: poller.checkNow,
      testAlert: live => sendTestAlert(live, publish, defaults, now),
      refresh,
      resetCircuit(live) {
        // Not the renewal: a circuit that was closed by hand has shown nothing.
        resetCircuit(live, (...closing) => {
          metrics.delivery.circuit(...closing)
          logged.circuit(...closing)
        })
        retry.hasten(live.name)
      }
    },
    queue: { store, deadLetters, workers, wake: retry.wake, replaySpacingMs: 100, now },
    deliveries: {
      list: query => deliveryLog.list(query),
      get: findDelivery({ deliveryLog, inHand, store })
    },
    status: {
      version,
      startedAt,
      roster,
      defaults,
      healthRules,
      store,
      workers,
      now,
      discovery: () => ({ source: discovery.source, ...discovered }),
      readiness: () => readiness,
      inFlight: () => ({ publishes: publish.inFlight(), deliveries: inHand.size }),
      mode: mode.view,
      publishStatistics: () => statistics.snapshot().publish,
      undelivered: metrics.undelivered
    },
    statistics: { statistics, mode },
    metrics: { text: metrics.text, contentType: metrics.contentType, onResponse: metrics.http.onResponse }
  })

  function refresh() {
    if (refreshing) return { kind: 'running' } as const
    const waitMs = refreshedAt + refreshEveryMs - now()
    if (waitMs > 0) return { kind: 'too_soon', waitMs } as const
    refreshing = true
    refreshedAt = now()
    const began = performance.now()
    metrics.refresh.began()
    discovery
      .refresh()
      .then(
        () => 'success' as const,
        error => {
          log.warn({ error: error instanceof Error ? error.message : 'unknown' }, 'the refresh failed')
          return 'failure' as const
        }
      )
      .then(status => {
        refreshing = false
        metrics.refresh.ended(status, (performance.now() - began) / 1000)
      })
    return { kind: 'started' } as const
  }

  const found = discovery.start(snapshot => roster.apply(snapshot, now()))
  const ready = Promise.all([found, opened()]).then(async () => {
    await absence.recall()
    if (readiness !== 'starting') return
    readiness = 'ready'
    poller.start()
    retry.start()
    publish.start()
    log.info({ targets: roster.all().length, source: discovery.source }, 'ready')
  })
  ready.catch(error => {
    if (config.DISCOVERY === 'file' || readiness === 'draining') return
    log.fatal({ error: error instanceof Error ? error.message : 'unknown' }, 'targets cannot be found')
  })
  // In a file all is known at once; a cluster or a Redis may take its time, and probes must be answered meanwhile.
  if (config.DISCOVERY === 'file') {
    await found.catch(async error => Promise.reject(await closed(error)))
    if ((await store.status()).available) await ready
  }
  const url = await listening(app, config)

  /** Resolves once the queue has been open. */
  async function opened(): Promise<void> {
    if ((await store.status()).available) return
    while (readiness === 'starting' && !(await store.status()).available) await pause(100)
    await warn()
  }

  async function closed(error: unknown): Promise<unknown> {
    await discovery.stop()
    await store.close()
    return error
  }

  let stopping: Promise<void> | undefined
  async function stop(): Promise<void> {
    readiness = 'draining'
    await discovery.stop()
    await poller.stop()
    const retries = Promise.all([retry.stop(), publish.stop()])
    const until = now() + config.DRAIN_TIMEOUT
    while ((publish.inFlight() > 0 || inHand.size > 0) && now() < until) await pause(20)
    // What is left is written down first, so that cutting its connection loses nothing.
    publish.cutShort()
    while (publish.inFlight() > 0 && now() < until + 2_000) await pause(20)
    await sender.close(true)
    await retries
    while (inHand.size > 0 && now() < until + 4_000) await pause(20)
    await app.close()
    await store.close()
    await tracing?.stop()
    letters.flush()
    log.info('stopped')
  }

  return { app, url, stop: () => (stopping ??= stop()) }
}

const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

function accessOf(config: Config, log: Logger) {
  if (config.API_TOKENS_FILE === undefined) {
    log.warn('API_TOKENS_FILE is not set: everybody who can reach this service may use all of it')
    return openAccess
  }
  const reading = readTokens(textOf(config.API_TOKENS_FILE))
  if (reading.ok) return reading.value
  throw new Error(reading.problems.map(sentenceOf).join('; '))
}

async function listening(app: FastifyInstance, { HOST, PORT }: Config): Promise<string> {
  try {
    return await app.listen({ host: HOST, port: PORT })
  } catch (cause) {
    throw new Error(`HOST ${HOST}, PORT ${PORT} cannot be listened on: ${(cause as NodeJS.ErrnoException).code}`, {
      cause
    })
  }
}

function textOf(tokensFile: string): string {
  try {
    return readFileSync(tokensFile, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new Error(`API_TOKENS_FILE cannot be read: ${code === 'ENOENT' ? 'there is no such file' : code}`, { cause })
  }
}

/** One observer that tells several, each as far as it wants to know. They are looked up late, as they need each other. */
function together<E extends object>(names: readonly (keyof E & string)[], observers: () => readonly Partial<E>[]): E {
  type Tell = (...args: [unknown, unknown, unknown, unknown]) => void
  const all: Record<string, Tell> = {}
  for (const name of names) {
    let told: Tell[] | undefined
    // Several times per delivery: no list is made of what is passed on.
    all[name] = (a, b, c, d) => {
      told ??= observers().flatMap(observer =>
        typeof observer[name] === 'function' ? [(observer[name] as Tell).bind(observer)] : []
      )
      for (const tell of told) tell(a, b, c, d)
    }
  }
  return all as E
}
