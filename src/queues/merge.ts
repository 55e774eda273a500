import type { Layer } from './layer.js'
import type { Kept } from './record.js'
import { keptIn, type Row } from './staged.js'

/**
 * The ids of all rows in order, `size` at a time: neighbours lie on the same pages of the table, which are then written once.
 * Sorted in parts with a pause after each, so that 100,000 rows do not hold up the event loop.
 */
export async function* sortedSlices(rows: Pick<Layer, 'keys'>, size: number): AsyncGenerator<string[]> {
  const runs: string[][] = []
  let run: string[] = []
  for (const id of rows.keys()) {
    run.push(id)
    if (run.length < 2_000) continue
    runs.push(run.sort().reverse())
    run = []
    await new Promise(setImmediate)
  }
  if (run.length > 0) runs.push(run.sort().reverse())
  // The run with the smallest id comes last, as each run's smallest id does.
  runs.sort((a, b) => (b.at(-1)! < a.at(-1)! ? -1 : 1))
  while (runs.length > 0) {
    const slice: string[] = []
    while (slice.length < size && runs.length > 0) {
      const smallest = runs.pop()!
      slice.push(smallest.pop()!)
      if (smallest.length > 0) putBack(runs, smallest)
    }
    yield slice
  }
}

function putBack(runs: string[][], run: string[]): void {
  const id = run.at(-1)!
  let low = 0
  let high = runs.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (runs[middle]!.at(-1)! > id) low = middle + 1
    else high = middle
  }
  runs.splice(low, 0, run)
}

/** The table's records with the layers that lie over it, the first layer first, in id order. */
export function* merged(
  layers: readonly Pick<ReadonlyMap<string, Row>, 'keys' | 'get'>[],
  table: Iterable<{ id: string; kept: Kept }>,
  { prefix, after = '' }: { prefix: string; after?: string }
): Generator<{ id: string; kept: Kept | undefined }> {
  const over = new Map<string, (typeof layers)[number]>()
  for (const layer of layers) {
    for (const id of layer.keys()) if (id.startsWith(prefix) && id > after && !over.has(id)) over.set(id, layer)
  }
  const ids = [...over.keys()].sort()
  const keptOf = (id: string): Kept | undefined => keptIn(over.get(id)!.get(id)!)
  let position = 0
  for (const entry of table) {
    while (position < ids.length && ids[position]! < entry.id) {
      const id = ids[position++]!
      yield { id, kept: keptOf(id) }
    }
    if (!over.has(entry.id)) yield entry
  }
  for (const id of ids.slice(position)) yield { id, kept: keptOf(id) }
}
