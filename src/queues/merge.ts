import type { Row } from './disk.js'
import { type Kept, lengthOf } from './record.js'

/**
 * All rows in id order, `size` at a time or fewer once their texts have about so many `bytes`: neighbours lie on the same
 * pages of the table, which are then written once. Sorted in parts with a pause after each, so that 50,000 rows do not hold
 * up the event loop.
 */
export async function* sortedSlices(
  rows: ReadonlyMap<string, Row>,
  size: number,
  bytes: number
): AsyncGenerator<Row[]> {
  const runs: Row[][] = []
  let run: Row[] = []
  for (const row of rows.values()) {
    run.push(row)
    if (run.length < 2_000) continue
    runs.push(run.sort(byId).reverse())
    run = []
    await new Promise(setImmediate)
  }
  if (run.length > 0) runs.push(run.sort(byId).reverse())
  // The run with the smallest row comes last, as each run's smallest row does.
  runs.sort((a, b) => byId(b.at(-1)!, a.at(-1)!))
  while (runs.length > 0) {
    const slice: Row[] = []
    let length = 0
    while (slice.length < size && length < bytes && runs.length > 0) {
      const smallest = runs.pop()!
      const row = smallest.pop()!
      slice.push(row)
      length += lengthOf(row.kept)
      if (smallest.length > 0) putBack(runs, smallest)
    }
    yield slice
  }
}

function putBack(runs: Row[][], run: Row[]): void {
  const row = run.at(-1)!
  let low = 0
  let high = runs.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (byId(runs[middle]!.at(-1)!, row) > 0) low = middle + 1
    else high = middle
  }
  runs.splice(low, 0, run)
}

function byId({ id: a }: Row, { id: b }: Row): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** The table's records with the layers that lie over it, the first layer first, in id order. */
export function* merged(
  layers: readonly ReadonlyMap<string, Row>[],
  table: Iterable<{ id: string; kept: Kept }>,
  { prefix, after = '' }: { prefix: string; after?: string }
): Generator<{ id: string; kept: Kept | undefined }> {
  const over = new Map<string, Kept | undefined>()
  for (const layer of layers) {
    for (const [id, { kept }] of layer) if (id.startsWith(prefix) && id > after && !over.has(id)) over.set(id, kept)
  }
  const ids = [...over.keys()].sort()
  let position = 0
  for (const entry of table) {
    while (position < ids.length && ids[position]! < entry.id) {
      const id = ids[position++]!
      yield { id, kept: over.get(id) }
    }
    if (!over.has(entry.id)) yield entry
  }
  for (const id of ids.slice(position)) yield { id, kept: over.get(id) }
}
