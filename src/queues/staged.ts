import { type Change, type Fields, noFields, type Place } from './contract.js'
import { jsonIn, type Kept, Packed, read, removesNothing, Shared, textFor, textOf } from './record.js'

/**
 * What a change made of a record, until the tables have it. Of many thousands, and so of nearly all, whose place stays as it
 * is, just the text that the tables get: the less there is of them, the less the GC has to look into.
 */
export type Row =
  | string
  | {
      /** Absent: the record is removed. */
      readonly kept?: Kept | undefined
      /** Absent: its place stays as it is on disk. */
      readonly place?: Place | null | undefined
    }

export const keptIn = (row: Row): Kept | undefined => (typeof row === 'string' ? read(row) : row.kept)
export const placeIn = (row: Row | undefined): Place | null | undefined =>
  typeof row === 'string' ? undefined : row?.place

/**
 * A change that is not journalled yet, and what it makes of its record. What is marked in the record meanwhile is only
 * listed: a live publish marks two records several times each, and nobody reads them before they are written as one.
 */
export class Staged {
  #change: Change
  #kept: Kept | undefined
  /** All that the record has, once it is written as one text. */
  #text: string | undefined
  /** Names and values in turn, of fields that were marked since. */
  #marks: unknown[] | undefined
  #expiresAt = 0
  /** What the marks are made over, while nobody has read it. */
  #base: string | undefined

  /** A row that only marks: over the text of all that the record has. */
  static over(text: string, id: string, group: object): Staged {
    const staged = new Staged(id, group, { id }, undefined, undefined)
    staged.#base = text
    return staged
  }

  constructor(
    readonly id: string,
    /** What it is journalled with. */
    readonly group: object,
    change: Change,
    kept: Kept | undefined,
    readonly place: Place | null | undefined
  ) {
    this.#change = change
    this.#kept = kept
  }

  /** Whether there is a record after the change, at that time. */
  isAlive(now: number): boolean {
    return (this.#marks ? this.#expiresAt : (this.#kept?.expiresAt ?? 0)) > now
  }

  /** All that the record has, where that was written as one text. */
  get text(): string | undefined {
    return this.place === undefined ? this.#text : undefined
  }

  get change(): Change {
    this.#apply()
    // What was written and could not be journalled: the marks are in the text alone by then.
    if (this.#text === undefined) return this.#change
    const { fields, expiresAt } = read(this.#text)
    return { ...this.#change, set: fields, expiresAt }
  }

  get kept(): Kept | undefined {
    this.#apply()
    return this.#text === undefined ? this.#kept : read(this.#text)
  }

  /** What is left of it once it is journalled. */
  get row(): Row {
    return this.text ?? { kept: this.kept, place: this.place }
  }

  /** Whether the change can be made by `add` at that time, so that the record needs no other row in the same group. */
  takes({ set, replace, update, drop, tidy, place }: Change, now: number): boolean {
    if (!this.isAlive(now) || this.place !== undefined || this.#change.replace) return false
    if (!set || replace || update || drop || tidy || place !== undefined) return false
    return removesNothing(set)
  }

  /** Sets more fields. */
  add({ set, expiresAt = this.#marks ? this.#expiresAt : this.#kept!.expiresAt }: Change): void {
    for (const name in set) if (set[name] !== undefined) this.mark(name, set[name], expiresAt)
  }

  /** Sets one field more. */
  mark(field: string, value: unknown, expiresAt: number): void {
    this.#marks ??= []
    this.#marks.push(field, value)
    this.#expiresAt = expiresAt
  }

  /**
   * Adds the change to `pieces`, as JSON. What it sets is all of a new record, as a rule: then its text is what is kept from
   * here on.
   */
  write(pieces: string[], values: SharedValues): void {
    if (this.#base !== undefined) {
      this.#writeOver(this.#base, pieces)
      return
    }
    const { set, id, replace, place } = this.#change
    if (this.#text !== undefined || !this.#kept || this.#kept instanceof Packed || this.#kept.fields !== set) {
      pieces.push(JSON.stringify(this.change))
      return
    }
    if (replace && !this.#marks) {
      pieces.push(this.#withShared(set, values))
      return
    }
    const marks = this.#marks
    const json = withMarks(JSON.stringify(set), marks)
    const keptUntil = marks ? this.#expiresAt : this.#kept.expiresAt
    this.#marks = undefined
    this.#text = textFor(keptUntil, json)
    pieces.push('{"id":', quoted(id), ',"set":', json)
    if (replace) pieces.push(',"replace":true')
    const expiresAt = marks ? keptUntil : this.#change.expiresAt
    if (expiresAt !== undefined) pieces.push(',"expiresAt":', quotedTime(expiresAt))
    if (place !== undefined) pieces.push(',"place":', JSON.stringify(place))
    pieces.push('}')
  }

  /** Makes text of what was journalled before, as far as can be: nobody may look at it for a while. */
  pack(values: SharedValues): void {
    this.write([], values)
    if (this.place === undefined && this.#kept && !(this.#kept instanceof Packed)) this.#text ??= textOf(this.#kept)
  }

  /** What is marked follows the rest, in the journal and in the text. */
  #writeOver(base: string, pieces: string[]): void {
    const marks = this.#marks
    pieces.push('{"id":', quoted(this.id), ',"set":', withMarks('{}', marks))
    pieces.push(',"expiresAt":', quotedTime(this.#expiresAt), '}')
    this.#text = textFor(this.#expiresAt, withMarks(jsonIn(base), marks))
    this.#base = this.#marks = undefined
  }

  /** What is owed to several targets, or given up, says the same of the same alerts: that is written and kept once. */
  #withShared(set: Fields, values: SharedValues): string {
    const { id, replace, expiresAt, place } = this.#change
    const own: Fields = {}
    const names: string[] = []
    const shared: Shared[] = []
    const same: Record<string, number> = {}
    for (const name in set) {
      const value = set[name]
      const isLarge = typeof value === 'string' ? value.length > 200 : typeof value === 'object'
      if (!isLarge) {
        own[name] = value
        continue
      }
      same[name] = values.numberOf(value)
      names.push(name)
      shared.push(values.at(same[name]))
    }
    const text = JSON.stringify(own)
    this.#kept = new Packed(text, this.#kept!.expiresAt, names, shared)
    return `{"id":${quoted(id)},"set":${text},${JSON.stringify({ same, replace, expiresAt, place }).slice(1)}`
  }

  /** Makes fields of what was marked. New ones: whoever has read the old ones keeps what was read. */
  #apply(): void {
    const marks = this.#marks
    if (!marks) return
    this.#marks = undefined
    if (this.#base !== undefined) {
      this.#kept = read(this.#base)
      this.#base = undefined
    }
    const set = copyOf(this.#change.set)
    const fields = copyOf(this.#kept!.fields)
    for (let index = 0; index < marks.length; index += 2) {
      const field = marks[index] as string
      set[field] = fields[field] = marks[index + 1]
    }
    this.#change = { ...this.#change, set, expiresAt: this.#expiresAt }
    this.#kept = { fields, expiresAt: this.#expiresAt }
  }
}

/** Values that several changes of one write to the journal have, each as JSON once; a change has their numbers. */
export class SharedValues {
  /** Of all texts together. */
  length = 0
  readonly #all: Shared[] = []
  readonly #numbers = new Map<unknown, number>()

  get json(): string {
    return `[${this.#all.map(({ json }) => json).join()}]`
  }

  at(number: number): Shared {
    return this.#all[number]!
  }

  numberOf(value: unknown): number {
    let number = this.#numbers.get(value)
    if (number === undefined) {
      const shared = Shared.of(value)
      number = this.#all.push(shared) - 1
      this.length += shared.json.length
      this.#numbers.set(value, number)
    }
    return number
  }
}

/** A JSON object with more fields; of one that was marked twice JSON takes the last. */
function withMarks(object: string, marks: readonly unknown[] | undefined): string {
  if (!marks) return object
  let texts = ''
  for (const each of marks) if (typeof each === 'string') texts += each
  // Of all at once: to ask it of each takes as long as the rest of this.
  const quote = isPlain(texts) ? inQuotes : JSON.stringify
  let fields = ''
  for (let index = 0; index < marks.length; index += 2) {
    const value = marks[index + 1]
    fields += `,${quote(marks[index] as string)}:${typeof value === 'string' ? quote(value) : JSON.stringify(value)}`
  }
  // Joined, since a text that grows bit by bit stays a chain of its bits, and this one is kept.
  return (object === '{}' ? ['{', fields.slice(1), '}'] : [object.slice(0, -1), fields, '}']).join('')
}

/** JSON has no Infinity. */
const quotedTime = (ms: number): string => (ms === Infinity ? 'null' : String(ms))

/** A text as JSON. Nearly all are made of what needs no escape. */
const quoted = (text: string): string => (isPlain(text) ? inQuotes(text) : JSON.stringify(text))
const isPlain = (text: string): boolean => /^[ !#-[\]-~]*$/.test(text)
const inQuotes = (text: string): string => `"${text}"`

function copyOf(fields: Fields | undefined): Fields {
  const copy = noFields()
  for (const name in fields) copy[name] = fields[name]
  return copy
}
