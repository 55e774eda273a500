import { setTimeout as wait } from 'node:timers/promises'
import { type Bench, during, type Table, toAll } from './bench.js'
import { type Figures, median } from './figures.js'
import { startService } from './processes.js'

/** Time from sending to arrival at healthy targets: with none that hangs, while one does, and when its breaker is open. */
export async function isolation(bench: Bench): Promise<Table> {
  const healthy = Array.from({ length: 4 }, () => bench.target('/timed/0'))
  const seconds = bench.quick ? 3 : 8
  const alone: Figures[] = []
  const hanging: Figures[] = []
  const open: Figures[] = []
  for (let round = 0; round < bench.rounds; round++) {
    await during(await startService([...healthy, bench.target('/0')]), async ({ origin }) => {
      alone.push(await arrivals(origin))
    })
    await during(await startService([...healthy, bench.target('/hang')]), async ({ origin }) => {
      hanging.push(await arrivals(origin))
      if (bench.quick) return
      await circuitOpen(origin)
      open.push(await arrivals(origin))
    })
  }
  return {
    title: 'Four healthy targets beside one that hangs, 100 publishes/s: from sending to arrival at the healthy ones',
    head: ['the fifth target', 'p50 ms', 'p99 ms', 'arrived'],
    rows: [
      row('answers', alone),
      row('hangs, its breaker closed', hanging),
      ...(open.length > 0 ? [row('hangs, its breaker open', open)] : [])
    ]
  }

  async function arrivals(origin: string): Promise<Figures> {
    const load = { origin, paths: [toAll], perSecond: 100 }
    await bench.timed()
    await bench.load({ ...load, seconds })
    return bench.timed()
  }
}

/** Attempts take their whole timeout before the breaker learns of them. */
async function circuitOpen(origin: string): Promise<void> {
  for (;;) {
    const answer = await fetch(`${origin}/api/v1/targets/hook-5`)
    const { circuit } = (await answer.json()) as { circuit: { state: string } }
    if (circuit.state === 'open') return
    await wait(200)
  }
}

function row(name: string, rounds: readonly Figures[]): string[] {
  const middle = (what: keyof Figures) => median(rounds.map(each => each[what]))
  return [name, middle('p50').toFixed(1), middle('p99').toFixed(1), String(middle('count'))]
}
