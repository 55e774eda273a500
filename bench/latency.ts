import { type Bench, during, type Table, toAll } from './bench.js'
import { median } from './figures.js'
import type { Load } from './load.js'
import { startFloor, startService } from './processes.js'

const ms = (value: number): string => value.toFixed(1)

/** One publish to five targets against five publishes to one each, one after the other; each target takes 20 ms. */
export async function parallelOrNot(bench: Bench): Promise<Table> {
  const names = [1, 2, 3, 4, 5].map(number => `/api/v1/publish/parallel?target=hook-${number}`)
  return during(await startService(targetsOf(bench, 5, '/20')), async ({ origin }) => {
    const all = await repeated(bench, { origin, paths: [toAll], callers: 1, seconds: 2 })
    const oneByOne = await repeated(bench, { origin, paths: names, callers: 1, seconds: 2 })
    return {
      title: 'Five targets that take 20 ms each, at once or one after the other',
      head: ['', 'p50 ms', 'p99 ms'],
      rows: [
        ['one publish to all', ms(all.p50), ms(all.p99)],
        ['a publish to each in turn', ms(oneByOne.p50), ms(oneByOne.p99)],
        ['times as long', ms(oneByOne.p50 / all.p50), ms(oneByOne.p99 / all.p99)]
      ]
    }
  })
}

/** Time of the answer beyond the 20 ms that each of five targets takes, publishes coming at fixed times. */
export async function added(bench: Bench): Promise<Table> {
  const rows: string[][] = []
  for (const perSecond of bench.quick ? [200] : [100, 200, 500, 1_000]) {
    const load = { perSecond, seconds: bench.quick ? 3 : 5 }
    const ours = await during(await startService(targetsOf(bench, 5, '/20')), ({ origin }) =>
      repeated(bench, { origin, paths: [toAll], ...load })
    )
    const bare = await during(await startFloor(bench.target('/20'), 5), ({ origin }) =>
      repeated(bench, { origin, paths: ['/'], ...load })
    )
    rows.push([String(perSecond), ...[ours.p50, bare.p50, ours.p99, bare.p99].map(value => ms(value - 20))])
  }
  return {
    title: 'Added to the slowest of five targets that take 20 ms, open loop',
    head: ['publishes/s', 'p50 ms', 'floor', 'p99 ms', 'floor'],
    rows,
    notes: ['The floor’s share is also what the load’s and the targets’ own timers and queues add.']
  }
}

/** Answers while every target takes 100 ms. */
export async function slowTargets(bench: Bench): Promise<Table> {
  const rows: string[][] = []
  for (const count of [5, 10]) {
    const { p50, p99 } = await during(await startService(targetsOf(bench, count, '/100')), ({ origin }) =>
      repeated(bench, { origin, paths: [toAll], perSecond: 100, seconds: bench.quick ? 2 : 5 })
    )
    rows.push([String(count), ms(p50), ms(p99), ((p50 - 100) / count).toFixed(2)])
  }
  return {
    title: 'Targets that take 100 ms each, 100 publishes/s, open loop',
    head: ['targets', 'p50 ms', 'p99 ms', 'p50 beyond 100 ms, per target'],
    rows
  }
}

/** Medians of several rounds after one to warm up. */
async function repeated(bench: Bench, load: Load): Promise<{ p50: number; p99: number }> {
  await bench.load({ ...load, seconds: 1 })
  const rounds = []
  for (let round = 0; round < bench.rounds; round++) rounds.push(await bench.load(load))
  return { p50: median(rounds.map(each => each.p50)), p99: median(rounds.map(each => each.p99)) }
}

function targetsOf(bench: Bench, count: number, path: string): string[] {
  return Array.from({ length: count }, () => bench.target(path))
}
