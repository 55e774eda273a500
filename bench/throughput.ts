import { type Bench, during, type Table, toAll } from './bench.js'
import { median } from './figures.js'
import { type Measured, startFloor, startService } from './processes.js'

interface Run {
  readonly perSecond: number
  readonly cpuMs: number
  readonly notOk: number
  /** Share of their core that the load and the targets took. */
  readonly beside: number
}

/** Publishes a second and CPU of each on one core, 32 callers, beside the floor. */
export async function throughput(bench: Bench): Promise<Table> {
  const counts = bench.quick ? [1, 5, 50] : [1, 2, 5, 10, 50]
  const floors = counts.map((): Run[] => [])
  const services = counts.map((): Run[] => [])
  // Rounds go over everything, so that a slow minute of the machine touches all alike.
  for (let round = 0; round < bench.rounds; round++) {
    for (const [index, count] of counts.entries()) {
      const url = bench.target('/0')
      floors[index]!.push(
        await during(await startFloor(url, count), floor => run(bench, floor, { path: '/', targets: count }))
      )
      const urls = Array.from({ length: count }, () => url)
      services[index]!.push(
        await during(await startService(urls), service => run(bench, service, { path: toAll, targets: count }))
      )
    }
  }
  const rate = (runs: readonly Run[]) =>
    middle(runs, 'perSecond').toFixed(0) + (median(runs.map(each => each.beside)) > 0.9 ? ' *' : '')
  const middle = (runs: readonly Run[], what: 'perSecond' | 'cpuMs') => median(runs.map(each => each[what]))
  const rows = counts.map((count, index) => {
    const ours = services[index]!
    const bare = floors[index]!
    return [
      String(count),
      rate(ours),
      rate(bare),
      middle(ours, 'cpuMs').toFixed(3),
      middle(bare, 'cpuMs').toFixed(3),
      median(ours.map((each, round) => each.cpuMs / bare[round]!.cpuMs)).toFixed(2)
    ]
  })
  const each = (runs: Run[][]) => (middle(runs.at(-1)!, 'cpuMs') - middle(runs[0]!, 'cpuMs')) / (counts.at(-1)! - 1)
  const notOk = [...services, ...floors].flat().reduce((sum, { notOk }) => sum + notOk, 0)
  return {
    title: 'Publishes on one core, beside a program that only fans out (the floor)',
    head: ['targets', 'publishes/s', 'floor', 'CPU ms each', 'floor', 'ratio of CPU'],
    rows,
    notes: [
      `One target more costs ${(each(services) * 1_000).toFixed(0)} µs of CPU a publish, ${(each(floors) * 1_000).toFixed(0)} µs at the floor.`,
      ...(rows.flat().some(cell => cell.endsWith('*'))
        ? ['\\* The load and the targets had no more than this from their core: the figure could be greater.']
        : []),
      ...(notOk > 0 ? [`${notOk} publishes were not answered 200: these figures are of little worth.`] : [])
    ]
  }
}

async function run(bench: Bench, { origin, usage }: Measured, { path, targets }: { path: string; targets: number }) {
  const load = { origin, paths: [path], callers: 32 }
  // Until the code is compiled: by publishes, as a slow machine needs longer for as many.
  const enough = (2_000 + 40_000 / targets) / (bench.quick ? 4 : 1)
  for (let warm = 0, second = 0; warm < enough && second < (bench.quick ? 3 : 10); second++)
    warm += (await bench.load({ ...load, seconds: 1 })).count
  const before = await usage()
  const besideUs = await bench.besideUs()
  const beganMs = performance.now()
  const { count, perSecond, statuses } = await bench.load({ ...load, seconds: bench.quick ? 1.5 : 5 })
  const after = await usage()
  return {
    perSecond,
    cpuMs: (after.cpuUs - before.cpuUs) / 1_000 / count,
    notOk: count - (statuses[200] ?? 0),
    beside: ((await bench.besideUs()) - besideUs) / 1_000 / (performance.now() - beganMs)
  }
}
