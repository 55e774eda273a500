import { type Change, type Fields, noFields, StoreUnavailable } from './contract.js'

/** A record as it is kept. Never changed, only replaced, so whoever has read it keeps what was read. */
export interface Kept {
  readonly fields: Fields
  /** Milliseconds since the epoch; Infinity: never. */
  readonly expiresAt: number
}

/**
 * A record of which only the JSON is kept, since a text is nothing to look into for the GC. `same` are the names and, as
 * JSON, the values, in turn, of fields that other records have as well, with the very same texts.
 */
export class Packed implements Kept {
  constructor(
    private readonly own: string,
    readonly expiresAt: number,
    private readonly same: readonly string[]
  ) {}

  /** Of its text, or nearly. */
  get length(): number {
    return this.same.reduce((sum, text) => sum + text.length, this.own.length)
  }

  get json(): string {
    const { own, same } = this
    const pieces = own === '{}' ? [] : [own.slice(1, -1)]
    for (let index = 0; index < same.length; index += 2)
      pieces.push(`${JSON.stringify(same[index])}:${same[index + 1]}`)
    return `{${pieces.join()}}`
  }

  get fields(): Fields {
    return JSON.parse(this.json)
  }
}

/** A record as the tables have it: when it ends, and its fields as JSON. */
export function textOf(kept: Kept): string {
  return `${kept.expiresAt};${kept instanceof Packed ? kept.json : JSON.stringify(kept.fields)}`
}

/** The record of such a text. */
export function read(text: string): Kept {
  try {
    return { expiresAt: endIn(text), fields: JSON.parse(jsonIn(text)) }
  } catch (cause) {
    throw new StoreUnavailable('a record of the queue cannot be read: it is damaged', { cause })
  }
}

export const endIn = (text: string): number => Number(text.slice(0, text.indexOf(';')))
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
