import { type Change, type Fields, noFields, StoreUnavailable } from './contract.js'

/** A record as it is kept. Never changed, only replaced, so whoever has read it keeps what was read. */
export interface Kept {
  readonly fields: Fields
  /** Milliseconds since the epoch; Infinity: never. */
  readonly expiresAt: number
}

/** Lists so long, and texts, are kept and read once for all records: five copies of 20,000 alerts do not fit in memory. */
const longList = 200
const longText = 50_000

/** A value that several records have, as JSON. A long one that somebody still has is not read anew: it is the same for all. */
export class Shared {
  #value: string | WeakRef<object> | undefined

  private constructor(
    readonly json: string,
    value: string | object | undefined
  ) {
    this.#value = typeof value === 'object' ? new WeakRef(value) : value
  }

  static of(value: unknown): Shared {
    if (typeof value === 'string' && value.length >= longText) return ofText(value)
    if (Array.isArray(value) && value.length >= longList) return ofList(value)
    return new Shared(JSON.stringify(value), undefined)
  }

  static long(value: string | object): Shared {
    return new Shared(JSON.stringify(value), value)
  }

  get value(): unknown {
    if (typeof this.#value === 'string') return this.#value
    const known = this.#value?.deref()
    if (known) return known
    const value = JSON.parse(this.json)
    if (this.#value) {
      this.#value = new WeakRef<object>(value)
      lists.set(value, this)
    }
    return value
  }
}

const lists = new WeakMap<object, Shared>()
/** The long text that was shared last: the others that are owed the same come right after. */
let lastText: WeakRef<Shared> | undefined

function ofText(value: string): Shared {
  const last = lastText?.deref()
  if (last && last.value === value) return last
  const shared = Shared.long(value)
  lastText = new WeakRef(shared)
  return shared
}

function ofList(value: object): Shared {
  let shared = lists.get(value)
  if (!shared) lists.set(value, (shared = Shared.long(value)))
  return shared
}

/**
 * A record of which only the JSON is kept, since a text is nothing to look into for the GC. `names` and, in the
 * same order, `values` are of fields that other records have as well.
 */
export class Packed implements Kept {
  constructor(
    private readonly own: string,
    readonly expiresAt: number,
    private readonly names: readonly string[],
    private readonly values: readonly Shared[]
  ) {}

  get json(): string {
    const pieces = this.own === '{}' ? [] : [this.own.slice(1, -1)]
    for (const [index, name] of this.names.entries()) pieces.push(`${JSON.stringify(name)}:${this.values[index]!.json}`)
    return `{${pieces.join()}}`
  }

  get fields(): Fields {
    const fields = JSON.parse(this.own) as Fields
    for (const [index, name] of this.names.entries()) fields[name] = this.values[index]!.value
    return fields
  }
}

/** A record as the tables have it: when it ends, and its fields as JSON. */
export function textOf(kept: Kept): string {
  return textFor(kept.expiresAt, kept instanceof Packed ? kept.json : JSON.stringify(kept.fields))
}

export const textFor = (expiresAt: number, json: string): string => `${expiresAt};${json}`

/** The record of such a text. */
export function read(text: string): Kept {
  try {
    return { expiresAt: endIn(text), fields: JSON.parse(jsonIn(text)) }
  } catch (cause) {
    throw new StoreUnavailable('a record of the queue cannot be read: it is damaged', { cause })
  }
}

export function endIn(text: string | Buffer): number {
  const end = text.indexOf(';')
  return Number(typeof text === 'string' ? text.slice(0, end) : text.toString('latin1', 0, end))
}

export const jsonIn = (text: string): string => text.slice(text.indexOf(';') + 1)

/** Whether a change is one of a record that is not there, and so none. */
export function isVain({ update }: Change, before: Kept | undefined, now: number): boolean {
  return update === true && !alive(before, now)
}

/** What a record is after one change; undefined if it is dropped. An expired record counts as none. */
export function changed(before: Kept | undefined, change: Change, now: number): Kept | undefined {
  if (change.drop) return undefined
  const base = alive(before, now)
  const fields = fieldsAfter(change.replace ? undefined : base?.fields, change.set)
  if (change.tidy && Object.keys(fields).length === 0) return undefined
  return { fields, expiresAt: change.expiresAt ?? base?.expiresAt ?? Infinity }
}

/** What is set where nothing was is taken as it is: a live publish costs two of these, and most are new. */
function fieldsAfter(before: Fields | undefined, set: Fields = {}): Fields {
  if (!before && removesNothing(set)) return set
  const fields = noFields()
  // Those that are removed are left out: to delete one of a thousand that a slot may have takes much longer than this.
  for (const name in before) if (set[name] !== null) fields[name] = before[name]
  for (const name in set) {
    const value = set[name]
    if (value !== null && value !== undefined) fields[name] = value
  }
  return fields
}

/** What is undefined does no harm: it reads as absent, and JSON leaves it out. */
export function removesNothing(set: Fields): boolean {
  for (const name in set) if (set[name] === null) return false
  return true
}

/** The record, unless its time is over. */
export function alive(kept: Kept | undefined, now: number): Kept | undefined {
  return kept && kept.expiresAt > now ? kept : undefined
}

/** Numbers that only grow: microseconds since the epoch, or one more than the last where the clock has not moved on. */
export function counter(last = 0): { next(): number; last(): number } {
  let given = last
  return {
    next: () => (given = Math.max(Date.now() * 1000, given + 1)),
    last: () => given
  }
}
