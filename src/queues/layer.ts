import { keptIn, placeIn, type Row } from './staged.js'
import { Texts } from './texts.js'

type Own = Exclude<Row, string>

/**
 * Rows of records that are journalled and not in the tables yet, by id. Texts, which nearly all are, lie outside the heap:
 * there are some 100,000 before a checkpoint, which the garbage collector would first copy and then look for again.
 */
export class Layer {
  /** Where texts are. To look one up among so many takes a while, so each is looked up as seldom as can be. */
  readonly #places = new Map<string, number>()
  readonly #texts = new Texts()
  /** All others. No id is in both. */
  readonly #own = new Map<string, Own>()

  get size(): number {
    return this.#places.size + this.#own.size
  }

  *keys(): Generator<string> {
    yield* this.#places.keys()
    yield* this.#own.keys()
  }

  has(id: string): boolean {
    return this.#places.has(id) || this.#own.has(id)
  }

  get(id: string): Row | undefined {
    return this.#ownOf(id) ?? this.#textOf(id)
  }

  /** Absent: it stays as it is on disk. */
  place(id: string): Own['place'] {
    return this.#ownOf(id)?.place
  }

  /** Puts a row over an older one, whose place still counts if the newer one says nothing of it. */
  set(id: string, row: Row): void {
    const before = this.#ownOf(id)
    if (before?.place !== undefined && placeIn(row) === undefined)
      this.#own.set(id, { kept: keptIn(row), place: before.place })
    else if (typeof row !== 'string') {
      this.#places.delete(id)
      this.#own.set(id, row)
    } else {
      if (before) this.#own.delete(id)
      this.#places.set(id, this.#texts.add(row))
    }
  }

  /** The row; a text as bytes that are good until `clear`. */
  bytes(id: string): Buffer | Own {
    return this.#ownOf(id) ?? this.#texts.bytes(this.#places.get(id)!)
  }

  /** Gives the memory of its texts back. Nothing of it is used any more. */
  clear(): void {
    this.#places.clear()
    this.#own.clear()
    this.#texts.clear()
  }

  #ownOf(id: string): Own | undefined {
    return this.#own.size > 0 ? this.#own.get(id) : undefined
  }

  #textOf(id: string): string | undefined {
    const place = this.#places.get(id)
    return place === undefined ? undefined : this.#texts.at(place)
  }
}
