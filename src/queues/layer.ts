import { Packed } from './record.js'
import { keptIn, placeIn, type Row } from './staged.js'
import { Texts } from './texts.js'

/**
 * Rows of records that are journalled and not in the tables yet, by id. Texts, which nearly all are, lie outside the heap:
 * there are some 100,000 before a checkpoint, which the garbage collector would first copy and then look for again.
 */
export class Layer {
  readonly #rows = new Map<string, number | Exclude<Row, string>>()
  readonly #texts = new Texts()

  get size(): number {
    return this.#rows.size
  }

  keys(): IterableIterator<string> {
    return this.#rows.keys()
  }

  has(id: string): boolean {
    return this.#rows.has(id)
  }

  get(id: string): Row | undefined {
    const row = this.#rows.get(id)
    return typeof row === 'number' ? this.#texts.at(row) : row
  }

  /** Absent: it stays as it is on disk. */
  place(id: string): Exclude<Row, string>['place'] {
    const row = this.#rows.get(id)
    return typeof row === 'number' ? undefined : row?.place
  }

  /** Puts a row over an older one, whose place still counts if the newer one says nothing of it. */
  set(id: string, row: Row): void {
    const place = this.place(id)
    const stays = place !== undefined && placeIn(row) === undefined
    if (stays) this.#rows.set(id, { kept: keptIn(row), place })
    else this.#rows.set(id, typeof row === 'string' ? this.#texts.add(row) : row)
  }

  /** The row if it is a text, as bytes that are good until `clear`. */
  bytes(id: string): Buffer | undefined {
    const row = this.#rows.get(id)
    return typeof row === 'number' ? this.#texts.bytes(row) : undefined
  }

  /** About how long its text is, as far as that is known without making it. */
  lengthOf(id: string): number {
    const row = this.#rows.get(id)
    return typeof row === 'number' ? this.#texts.lengthOf(row) : row ? lengthOf(row) : 0
  }

  /** Gives the memory of its texts back. Nothing of it is used any more. */
  clear(): void {
    this.#rows.clear()
    this.#texts.clear()
  }
}

function lengthOf({ kept }: Exclude<Row, string>): number {
  return kept instanceof Packed ? kept.length : 0
}
