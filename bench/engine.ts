// The pipeline by itself, in process, with targets that answer at once: microseconds per publish.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { accept } from '../src/pipeline/accept.js'
import { createDeliver } from '../src/pipeline/deliver.js'
import { createOwed } from '../src/pipeline/owed.js'
import { createPublish } from '../src/pipeline/publish.js'
import { createRoster } from '../src/pipeline/roster.js'
import { openStore } from '../src/queues/registry.js'
import type { Sender } from '../src/targets/send.js'
import { readTarget } from '../src/targets/target.js'

const quiet = () => {}
const answering: Sender = {
  send: (_target, _request, _options, whom) =>
    queueMicrotask(() => whom.exchanged({ statusCode: 202, headers: {}, body: '' })),
  retire: async () => {},
  close: async () => {}
}

/** Microseconds of CPU per publish of one alert to so many targets. */
export async function engineCost(queue: 'off' | 'embedded', targets: number, publishes: number): Promise<number> {
  const dir = mkdtempSync(path.join(tmpdir(), 'alert-fanout-engine-'))
  const store = await openStore({ queue, queueDir: dir })
  const roster = createRoster({ appeared: quiet, gone: quiet, applied: quiet })
  const found = Array.from({ length: targets }, (_, index) => {
    const reading = readTarget({
      name: `hook-${index}`,
      type: 'webhook',
      url: 'http://127.0.0.1:9/',
      format: 'alertmanager'
    })
    if (!reading.ok) throw new Error('the target is not valid')
    return reading.value
  })
  roster.apply({ targets: found, invalid: [] }, Date.now())
  const owed = createOwed({
    store,
    now: Date.now,
    maxPerTarget: 10_000,
    retentionMs: 1e9,
    events: { submitted: quiet, buried: quiet }
  })
  const deliver = createDeliver({
    store,
    owed,
    now: Date.now,
    sender: answering,
    random: Math.random,
    attemptTimeoutMs: 10_000,
    breakerRules: { failureThreshold: 5, successThreshold: 2, openMs: 30_000 },
    retryRules: { baseMs: 2_000, maxDelayMs: 300_000, maxAgeMs: 1e8, retentionMs: 1e9 },
    events: { started: quiet, attempted: quiet, settled: quiet, truncated: quiet, circuit: quiet, recovered: quiet }
  })
  const { publish } = createPublish({
    store,
    roster,
    deliver,
    now: Date.now,
    ackTimeoutMs: 5_000,
    dedupWindowMs: 120_000,
    retentionMs: 1e9,
    healthIntervalMs: 120_000,
    events: { published: quiet, cancelled: quiet, warn: quiet }
  })
  const text = readFileSync(new URL('../test/fixtures/alertmanager/firing-1.json', import.meta.url), 'utf8')
  const options = {
    timeoutMs: 30_000,
    adaptive: true,
    maxConcurrent: 0,
    checkHealth: true,
    healthStrategy: 'skip_unhealthy',
    respectCircuitBreakers: true
  } as const
  let serial = 0
  const one = async (): Promise<void> => {
    const bytes = Buffer.from(text.replace('40740cd330866521', (++serial).toString(16).padStart(16, '0')))
    const reading = accept(JSON.parse(bytes.toString()), bytes, Date.now())
    if (!reading.ok) throw new Error('the fixture is not valid')
    const published = await publish({
      accepted: reading.value,
      scope: 'all',
      options,
      bytes,
      sender: 'bench',
      onGone: quiet
    })
    if (published.kind !== 'published' || published.result.success_count !== targets) throw new Error('not delivered')
  }
  const run = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= 32) await Promise.all(Array.from({ length: Math.min(32, left) }, one))
  }
  await run(Math.max(500, publishes / 4))
  const before = process.cpuUsage()
  await run(publishes)
  const { user, system } = process.cpuUsage(before)
  await store.close()
  rmSync(dir, { recursive: true, force: true })
  return (user + system) / publishes
}

if (process.argv[1]?.endsWith('engine.ts')) {
  for (const queue of ['off', 'embedded'] as const) {
    for (const targets of [1, 5, 10, 50])
      console.log(
        queue,
        targets,
        'targets:',
        (await engineCost(queue, targets, 20_000 / targets + 2_000)).toFixed(1),
        'µs'
      )
  }
}
