import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Change, Store } from '../src/queues/contract.js'
import { embeddedStore } from '../src/queues/embedded.js'
import { memoryStore } from '../src/queues/memory.js'
import { redisStore } from '../src/queues/redis.js'
import { Secret } from '../src/secret.js'

/**
 * What the stores cost: `npx tsx bench/store.ts`. Redis only with REDIS_URL, whose data it adds to: use a spare one.
 * Prints, asserts nothing.
 */
const rows: string[][] = [['store', 'what', 'figure']]
const dir = mkdtempSync(join(tmpdir(), 'store-bench-'))
const redisUrl = process.env.REDIS_URL
const priorities = ['high', 'medium', 'low'] as const

const stores: [name: string, open: () => Promise<Store>][] = [
  ['memory', async () => memoryStore()],
  ['embedded', () => embeddedStore({ dir: join(dir, 'live') })]
]
if (redisUrl) stores.push(['redis', () => redisStore({ url: new Secret(redisUrl) })])

for (const [name, open] of stores) {
  const store = await open()
  await publishes(name, store, name === 'redis' ? 3_000 : 40_000)
  await writes(name, store, name === 'redis' ? 10_000 : 40_000)
  await store.close()
}
await recovery()
rmSync(dir, { recursive: true })
const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
for (const row of rows) console.log(row.map((text, column) => text.padEnd(widths[column]!)).join('  '))

/** One live publish: two records looked up, two noted, at about 4,000 a second so that notes flow as they would. */
async function publishes(name: string, store: Store, count: number) {
  const delivered = { s: 'delivered', at: Date.now(), n: 1 }
  let busyMs = 0
  const cpu = process.cpuUsage()
  for (let n = 0; n < count; ) {
    const start = performance.now()
    const looked: unknown[] = []
    for (let batch = 0; batch < 20; batch++, n++) {
      const ids = [`alert/${hash(n)}`, `ledger/${hash(n)}${hash(n + 1)}`] as const
      looked.push(store.read(ids))
      const expiresAt = Date.now() + 86_400_000
      store.note([
        { id: ids[0], set: { k: 1, a: delivered, b: delivered, c: delivered, d: delivered, e: delivered }, expiresAt },
        { id: ids[1], set: { m: { at: n, answered: 200, sender: 'am-1' }, a: 1, b: 1, c: 1, d: 1, e: 1 }, expiresAt }
      ])
    }
    if (name === 'redis') await Promise.all(looked)
    busyMs += performance.now() - start
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  const { user, system } = process.cpuUsage(cpu)
  if (name !== 'redis') rows.push([name, 'read 2 + note 2, call time', `${us((busyMs * 1000) / count)} each`])
  rows.push([name, 'read 2 + note 2, CPU of the process', `${us((user + system) / count)} each`])
}

/** Durable writes of one entry and one record, 64 at a time. */
async function writes(name: string, store: Store, count: number) {
  const text = 'x'.repeat(1_000)
  const times: number[] = []
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const cpu = process.cpuUsage()
  const start = performance.now()
  let n = 0
  const worker = async () => {
    while (n < count) {
      const began = performance.now()
      await store.write(owed(n++, text))
      times.push(performance.now() - began)
    }
  }
  await Promise.all(Array.from({ length: 64 }, worker))
  const ms = performance.now() - start
  const { user, system } = process.cpuUsage(cpu)
  delay.disable()
  times.sort((a, b) => a - b)
  rows.push([name, 'durable writes, 64 in flight', `${Math.round((count / ms) * 1000)}/s`])
  rows.push([name, 'durable write, p50 and p99', `${at(times, 0.5)} and ${at(times, 0.99)} ms`])
  rows.push([name, 'durable write, CPU of the process', `${us((user + system) / count)} each`])
  rows.push([name, 'longest pause of the event loop', `${(delay.max / 1e6).toFixed(1)} ms`])
}

async function recovery() {
  const path = join(dir, 'recovery')
  let store = await embeddedStore({ dir: path })
  const text = 'x'.repeat(1_000)
  for (let n = 0; n < 100_000; ) {
    const batch: Promise<void>[] = []
    for (let each = 0; each < 1_000; each++) batch.push(store.write(owed(n++, text)))
    await Promise.all(batch)
  }
  await store.close()
  const start = performance.now()
  store = await embeddedStore({ dir: path })
  rows.push(['embedded', 'opened with 100,000 owed entries', `${Math.round(performance.now() - start)} ms`])
  const began = performance.now()
  for (let times = 0; times < 1_000; times++) store.due('target-7', 'high', Infinity, 16)
  rows.push(['embedded', 'due, 16 of them, among 100,000', us(performance.now() - began)])
  await store.close()
}

function owed(n: number, text: string): Change[] {
  const place = {
    target: `target-${n % 20}`,
    priority: priorities[n % 3]!,
    dueAt: Date.now() + n,
    acceptedAt: Date.now()
  }
  return [
    { id: `entry/${hash(n)}${n}`, set: { text, tries: 0 }, replace: true, place },
    { id: `ledger/${hash(n)}${n}`, set: { a: { s: 'owed', id: n } }, expiresAt: Date.now() + 86_400_000 }
  ]
}

function hash(n: number): string {
  return (Math.imul(n, 2_654_435_761) >>> 0).toString(16).padStart(8, '0')
}

function us(value: number): string {
  return `${value.toFixed(1)} µs`
}

function at(sorted: number[], part: number): string {
  return sorted[Math.floor(sorted.length * part)]!.toFixed(1)
}
