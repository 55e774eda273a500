import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { readConfig } from '../../src/config.js'
import { createDeliveryLog } from '../../src/delivery-log.js'
import { createMetrics } from '../../src/metrics.js'
import { createMode } from '../../src/mode.js'
import { accept } from '../../src/pipeline/accept.js'
import { createDeadLetters } from '../../src/pipeline/dead-letters.js'
import { createDeliver } from '../../src/pipeline/deliver.js'
import { defaultOptions } from '../../src/pipeline/options.js'
import { createOwed } from '../../src/pipeline/owed.js'
import { createPublish } from '../../src/pipeline/publish.js'
import type { PublishResult } from '../../src/pipeline/result.js'
import { createRetry } from '../../src/pipeline/retry.js'
import { createRoster } from '../../src/pipeline/roster.js'
import { openStore } from '../../src/queues/registry.js'
import { createStatistics } from '../../src/statistics.js'
import { egress } from '../../src/targets/egress.js'
import { createSender } from '../../src/targets/send.js'
import { ownDirectory } from './directory.js'
import { targetOf } from './drive.js'

/** A target's own server: it answers with the status that is set, 200 at first. */
export async function receiver(t: Test): Promise<{ url: string; status: number; requests: number }> {
  const state = { url: '', status: 200, requests: 0 }
  const server = createServer((request, response) => {
    state.requests++
    request.resume().on('end', () => response.writeHead(state.status).end('ok'))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return state
}

interface ObservedOptions {
  /** Milliseconds since the epoch. Default: the real time. */
  now?: () => number
  /** Default: a new one. */
  queueDir?: string
  /** See `RetryDeps`. Default: 100,000. */
  maxAlerts?: number
}

/** The whole pipeline with everything that watches it, on a durable queue. */
export async function observed(
  t: Test,
  targets: object[],
  { now = Date.now, queueDir, maxAlerts = 100_000 }: ObservedOptions = {}
) {
  const reading = readConfig({})
  if (!reading.ok) throw new Error('the default configuration is not valid')
  const options = defaultOptions(reading.value)
  const store = await openStore({ queue: 'embedded', queueDir: queueDir ?? ownDirectory(t) })
  const sender = createSender(egress([], []), 'test')
  const mode = createMode({ now })
  const statistics = createStatistics({ now })
  const deliveryLog = createDeliveryLog({ now })
  let inFlight = 0
  const metrics = createMetrics({
    store,
    now,
    workers: 10,
    healthRules: { intervalMs: 120_000 },
    inFlight: () => inFlight,
    mode: mode.view,
    roster: { all: () => roster.all() },
    retry: { active: () => retry.active() }
  })
  const roster = createRoster({
    ...metrics.roster,
    applied(snapshot) {
      metrics.roster.applied(snapshot)
      mode.apply(roster.enabled().length)
    }
  })
  const owed = createOwed({
    store,
    now,
    maxPerTarget: 100,
    retentionMs: 3_600_000,
    events: {
      submitted(entry, result) {
        for (const each of [metrics.owed, statistics.owed, deliveryLog]) each.submitted(entry, result)
      },
      buried(letter) {
        for (const each of [metrics.owed, statistics.owed, deliveryLog]) each.buried(letter)
      }
    }
  })
  const deliver = createDeliver({
    store,
    owed,
    sender,
    now,
    random: () => 0,
    attemptTimeoutMs: 5_000,
    breakerRules: { failureThreshold: 5, successThreshold: 1, openMs: 30_000 },
    retryRules: { baseMs: 1, maxDelayMs: 1, maxAgeMs: 3_600_000, retentionMs: 3_600_000 },
    events: {
      started: () => void inFlight++,
      attempted(job, attempted, durationMs) {
        for (const each of [metrics.delivery, statistics.delivery]) each.attempted(job, attempted, durationMs)
      },
      settled(job, result) {
        inFlight--
        for (const each of [metrics.delivery, statistics.delivery, deliveryLog]) each.settled(job, result)
      },
      truncated: metrics.delivery.truncated,
      circuit: metrics.delivery.circuit,
      recovered: () => {}
    }
  })
  const { publish } = createPublish({
    store,
    roster,
    deliver,
    now,
    ackTimeoutMs: 5_000,
    dedupWindowMs: 120_000,
    retentionMs: 3_600_000,
    healthIntervalMs: 120_000,
    events: {
      published(result, verdict, accepted) {
        for (const each of [metrics.publish, statistics.publish]) each.published(result, verdict, accepted)
      },
      cancelled: statistics.publish.cancelled,
      warn: () => {}
    }
  })
  const retry = createRetry({
    store,
    roster,
    deliver,
    owed,
    now,
    workers: 10,
    maxAlerts,
    failed: error => t.fail('the queue could not be worked off', { error })
  })
  const deadLetters = createDeadLetters({ store, events: metrics.deadLetters, retentionMs: 3_600_000, now })
  const place = (wanted: object[]) => roster.apply({ targets: wanted.map(targetOf), invalid: [] }, now())
  place(targets)
  const close = async () => {
    await retry.stop()
    await sender.close(true)
    await store.close()
  }
  t.teardown(close)

  return {
    metrics,
    statistics,
    deliveryLog,
    deadLetters,
    roster,
    retry,
    store,
    place,
    close,
    /** Publishes one alert or several to all targets, or to the named ones, and gives the answer. */
    async publish(alert: object | object[], names?: string[], idempotencyKey?: string): Promise<PublishResult> {
      const body = Buffer.from(JSON.stringify(Array.isArray(alert) ? { alerts: alert } : { alert }))
      const understood = accept(JSON.parse(body.toString()), body, now())
      if (!understood.ok) throw new Error(JSON.stringify(understood.problems))
      metrics.publish.received(understood.value)
      const published = await publish({
        accepted: understood.value,
        scope: names ? 'named' : 'all',
        ...(names ? { names } : {}),
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
        options,
        bytes: body,
        sender: 'test',
        onGone: () => {}
      })
      if (published.kind !== 'published') throw new Error(published.kind)
      return published.result
    },
    /** Resolves once everything owed was delivered or given up. */
    async workedOff(): Promise<void> {
      retry.start()
      while ((await store.earliest()).size > 0 || retry.active() > 0)
        await new Promise(resolve => setTimeout(resolve, 5))
      await retry.stop()
    },
    /** Every series of the scrape by its name and labels, without the prefix. */
    async scrape(): Promise<Map<string, number>> {
      const lines = (await metrics.text()).split('\n').filter(line => line !== '' && !line.startsWith('#'))
      return new Map(
        lines.map(line => {
          const gap = line.lastIndexOf(' ')
          return [line.slice(0, gap).replace('alert_history_publishing_', ''), Number(line.slice(gap + 1))]
        })
      )
    }
  }
}
