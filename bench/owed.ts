// What it costs to owe: durable answers a second while a target is down, what 100,000 owed entries cost at a start and
// afterwards, and what the queue costs while nothing fails. `npm run bench -- --only owed`, or by itself after a build.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Entry, stored } from '../src/pipeline/entry.js'
import { embeddedStore } from '../src/queues/embedded.js'
import { type Bench, during, openBench, type Table, toAll } from './bench.js'
import { median } from './figures.js'
import type { Loaded } from './load.js'
import { type Measured, startService } from './processes.js'
import { tableText } from './report.js'

const quick = process.argv.includes('--quick')
const manyOwed = quick ? 10_000 : 100_000
/** Nobody listens there. */
const down = 'http://127.0.0.1:1/'
/** The first target alone. */
const toFirst = '/api/v1/publish/parallel?target=hook-1'
const roomy = { QUEUE_MAX_PER_TARGET: '1000000' }
const directory = mkdtempSync(join(tmpdir(), 'alert-fanout-owed-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))

const bench = await openBench({ quick, rounds: quick ? 1 : 3 })
for (const measure of [enqueue, paced, owing, idle]) console.log(tableText(await measure(bench)))
bench.close()
process.exit()

/** 64 callers whose alerts a target that is down is owed: each answer is on disk first. */
async function enqueue({ target, load, rounds }: Bench): Promise<Table> {
  const cases = [
    ['the only target is down', [down], 202],
    ['one target is down, one takes it', [target('/0'), down], 207],
    ['five targets are down', [down, down, down, down, down], 202]
  ] as const
  const rows: string[][] = []
  for (const [name, urls, expected] of cases) {
    const runs: Loaded[] = []
    const cpuMs: number[] = []
    for (let round = 0; round < rounds; round++) {
      await during(await startService(urls, roomy), async ({ origin, usage }) => {
        const all = { origin, paths: [toAll], callers: 64, ownGroups: true }
        await load({ ...all, seconds: quick ? 2 : 4 })
        const before = await usage()
        const loaded = await load({ ...all, seconds: quick ? 2 : 4 })
        cpuMs.push(((await usage()).cpuUs - before.cpuUs) / 1_000 / loaded.count)
        runs.push(loaded)
      })
    }
    const other = runs.reduce((sum, { count, statuses }) => sum + count - (statuses[expected] ?? 0), 0)
    const middle = (what: 'perSecond' | 'p50' | 'p99') => median(runs.map(run => run[what]))
    const entries = middle('perSecond') * urls.filter(url => url === down).length
    const cpu = median(cpuMs).toFixed(3)
    rows.push([name, middle('perSecond').toFixed(0), entries.toFixed(0), ...both(middle), cpu, String(other)])
  }
  return {
    title: 'Durable answers while a target is down, 64 callers, on one core',
    head: ['', 'publishes/s', 'entries/s', 'p50 ms', 'p99 ms', 'CPU ms each', 'answered otherwise'],
    rows,
    notes: ['Every answer says that the alert is owed, which is written to the disk before.']
  }
}

/** The same at a rate that is given: how long one caller waits, not how long a line of 64 is. */
async function paced({ load, rounds }: Bench): Promise<Table> {
  const seconds = quick ? 3 : 10
  const rows: string[][] = []
  for (const [count, perSecond] of [
    [5, 1_000],
    [1, 2_000]
  ] as const) {
    const runs: Loaded[] = []
    const busy: number[] = []
    for (let round = 0; round < rounds; round++) {
      const urls = Array.from({ length: count }, () => down)
      await during(await startService(urls, roomy), async ({ origin, usage }) => {
        const all = { origin, paths: [toAll], perSecond, ownGroups: true, fromDue: true }
        await load({ ...all, seconds: 3 })
        const before = await usage()
        runs.push(await load({ ...all, seconds }))
        busy.push(((await usage()).cpuUs - before.cpuUs) / 1e6 / seconds)
      })
    }
    const other = runs.reduce((sum, run) => sum + run.count - (run.statuses[202] ?? 0), 0)
    const middle = (what: 'p50' | 'p99') => median(runs.map(run => run[what]))
    const share = `${(median(busy) * 100).toFixed(0)} %`
    rows.push([String(count), String(perSecond), String(count * perSecond), ...both(middle), share, String(other)])
  }
  return {
    title: 'Durable answers at a given rate while all targets are down, open loop, on one core',
    head: ['targets', 'publishes/s', 'entries/s', 'p50 ms', 'p99 ms', 'of the core', 'answered otherwise'],
    rows,
    notes: ['From when each was due to be sent until its answer.']
  }
}

function both(middle: (what: 'p50' | 'p99') => number): string[] {
  return [middle('p50').toFixed(1), middle('p99').toFixed(1)]
}

/** A start with very much owed, and live publishes to another target while that waits, and while it is delivered. */
async function owing({ target, load, rounds }: Bench): Promise<Table> {
  const urls = [target('/0'), down]
  const own = { ...roomy, QUEUE_DIR: join(directory, 'owing') }
  await during(await startService(urls, own), async ({ origin }) => {
    await load({ origin, paths: ['/api/v1/publish/parallel?target=hook-2'], callers: 1, seconds: 0.1, ownGroups: true })
  })
  await multiply(own.QUEUE_DIR)
  let owed = 0
  const starts = { without: [] as number[], owed: [] as number[] }
  const live = { without: [] as Loaded[], owed: [] as Loaded[] }
  for (let round = 0; round < rounds; round++) {
    for (const which of alternating(round, ['without', 'owed'] as const)) {
      await during(await startService(urls, which === 'owed' ? own : roomy), async service => {
        starts[which].push(service.startMs)
        if (which === 'owed') owed = await depth(service.origin)
        live[which].push(await publishing(service))
      })
    }
  }
  const calm = await during(await startService([urls[0]!, target('/1')], roomy), steady)
  let delivered = 0
  const draining = await during(await startService([urls[0]!, target('/1')], own), async service => {
    const before = await depth(service.origin)
    const began = performance.now()
    const loaded = await steady(service)
    delivered = ((before - (await depth(service.origin))) / (performance.now() - began)) * 1_000
    return loaded
  })

  async function publishing({ origin }: Measured): Promise<Loaded> {
    const all = { origin, paths: [toFirst], callers: 32 }
    await load({ ...all, seconds: quick ? 2 : 5 })
    return load({ ...all, seconds: quick ? 2 : 10 })
  }
  async function steady({ origin }: Measured): Promise<Loaded> {
    const all = { origin, paths: [toFirst], perSecond: 500 }
    await load({ ...all, seconds: 3 })
    return load({ ...all, seconds: quick ? 3 : 6 })
  }
  const rate = (runs: readonly Loaded[]) => median(runs.map(run => run.perSecond))
  const figures = (loaded: Loaded) => `${loaded.p50.toFixed(1)} and ${loaded.p99.toFixed(1)} ms`
  return {
    title: `With ${owed} entries owed to another target`,
    head: ['', 'nothing owed', 'owed', 'ratio'],
    rows: [
      ['start to ready', ms(median(starts.without)), ms(median(starts.owed)), ''],
      [
        'live publishes/s, the other target down',
        rate(live.without).toFixed(0),
        rate(live.owed).toFixed(0),
        median(live.owed.map((run, round) => run.perSecond / live.without[round]!.perSecond)).toFixed(2)
      ],
      [
        `500 live publishes/s, p50 and p99, the other target back (${delivered.toFixed(0)} entries/s delivered)`,
        figures(calm),
        figures(draining),
        ''
      ]
    ]
  }
}

/** Who comes first in one round comes last in the next: a machine that slows down meanwhile favours nobody. */
function alternating<T>(round: number, contenders: readonly T[]): readonly T[] {
  return round % 2 === 0 ? contenders : contenders.toReversed()
}

/** Makes very many entries of the first one that is owed: each of another alert in another group. */
async function multiply(dir: string): Promise<void> {
  const store = await embeddedStore({ dir })
  const [first] = await store.list('entry/', undefined, 1)
  const entry = first!.fields as unknown as Entry
  const text = JSON.stringify(entry)
  const known = [entry.id, entry.slot, entry.alerts[0]!.alert.fingerprint]
  for (let made = 0; made < manyOwed; ) {
    const writes: Promise<void>[] = []
    for (const end = made + 1_000; made < end; made++) {
      const own = (part: string) => part.slice(0, -8) + made.toString(16).padStart(8, '0')
      const copy = JSON.parse(known.reduce((text, part) => text.replaceAll(part, own(part)), text)) as Entry
      writes.push(store.write(stored(copy)))
    }
    await Promise.all(writes)
  }
  await store.close()
}

function ms(value: number): string {
  return `${value.toFixed(0)} ms`
}

async function depth(origin: string): Promise<number> {
  return ((await (await fetch(`${origin}/api/v1/queue`)).json()) as { depth: number }).depth
}

/** Publishes that all succeed, with the queue and without. */
async function idle({ target, load, rounds }: Bench): Promise<Table> {
  const rows: string[][] = []
  for (const count of [1, 5]) {
    const urls = Array.from({ length: count }, () => target('/0'))
    const rates = { off: [] as number[], embedded: [] as number[] }
    // The two are nearer to each other than one run is to the next.
    for (let round = 0; round < 2 * rounds - 1; round++) {
      for (const queue of alternating(round, ['off', 'embedded'] as const)) {
        await during(await startService(urls, { QUEUE: queue }), async ({ origin }) => {
          const all = { origin, paths: [toAll], callers: 32 }
          await load({ ...all, seconds: quick ? 2 : 5 })
          // Long enough for more than one checkpoint.
          rates[queue].push((await load({ ...all, seconds: quick ? 2 : 15 })).perSecond)
        })
      }
    }
    const ratio = median(rates.embedded.map((rate, round) => rate / rates.off[round]!))
    rows.push([String(count), median(rates.off).toFixed(0), median(rates.embedded).toFixed(0), ratio.toFixed(2)])
  }
  return {
    title: 'Publishes/s while nothing fails, with and without the queue',
    head: ['targets', 'QUEUE=off', 'QUEUE=embedded', 'ratio'],
    rows
  }
}
