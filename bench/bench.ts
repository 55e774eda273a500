import { ask } from './asking.js'
import type { Figures } from './figures.js'
import type { Load, Loaded } from './load.js'
import { cores, type Measured, startBeside } from './processes.js'

/** What every measurement needs: targets to send to, a load, and how long to take. */
export interface Bench {
  /** Shorter rounds: to see that it runs, not to quote. */
  readonly quick: boolean
  /** Of how many each figure is the median. */
  readonly rounds: number
  /** A target's URL; its path says how it behaves (bench/sink.ts). */
  target(path: string): string
  load(load: Load): Promise<Loaded>
  /** Time from sending to arrival at the targets with a path `/timed/…`, since it was last asked. */
  timed(): Promise<Figures>
  /** CPU that the load and the targets have used so far, in microseconds; of the busier one where each has its own core. */
  besideUs(): Promise<number>
  close(): void
}

/** One table of the report. */
export interface Table {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** What a reader must know besides. */
  readonly notes?: readonly string[]
}

/** The route that publishes to every target. */
export const toAll = '/api/v1/publish/parallel/all'

/** Starts the load and the targets. */
export async function openBench({ quick, rounds }: Pick<Bench, 'quick' | 'rounds'>): Promise<Bench> {
  const sink = startBeside('sink.ts')
  const load = startBeside('load.ts')
  const port = await ask<number>(sink, 'listen')
  return {
    quick,
    rounds,
    target: path => `http://127.0.0.1:${port}${path}`,
    load: options => ask(load, 'load', options),
    timed: () => ask(sink, 'timed'),
    async besideUs() {
      const used = [await ask<number>(load, 'cpuUs'), await ask<number>(sink, 'cpuUs')] as const
      return cores.load === cores.targets ? used[0] + used[1] : Math.max(...used)
    },
    close() {
      load.kill()
      sink.kill()
    }
  }
}

/** Stops it whatever happens meanwhile. */
export async function during<T>(measured: Measured, measure: (measured: Measured) => Promise<T>): Promise<T> {
  try {
    return await measure(measured)
  } finally {
    await measured.stop()
  }
}
