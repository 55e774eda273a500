import { type Change, type Hold, oneField, type Store } from './contract.js'
import { dueIndex } from './due.js'
import { alive, changed, counter, isVain, type Kept } from './record.js'

/** What `QUEUE=off` remembers: gone with the process, and at most `maxRecords` (the longest unchanged go first). */
export function memoryStore(options: { maxRecords?: number } = {}): Store {
  const { maxRecords = 200_000 } = options
  const records = new Map<string, Kept>()
  const index = dueIndex()
  const numbers = counter()
  let sweeper = records.entries()

  const forget = (id: string) => {
    records.delete(id)
    index.set(id, null, undefined)
  }

  const apply = (change: Change, now: number) => {
    const before = records.get(change.id)
    if (before && !alive(before, now)) forget(change.id)
    if (isVain(change, before, now)) return
    const after = changed(before, change, now)
    if (!after) return forget(change.id)
    records.delete(change.id)
    records.set(change.id, after)
    const place = change.place === undefined ? index.get(change.id) : change.place
    if (place || change.place === null) index.set(change.id, place ?? null, after.expiresAt)
  }

  /** Two steps for each change: faster than records can come, and never a pause. */
  const sweep = (steps: number, now: number) => {
    for (let step = 0; step < steps; step++) {
      const { value, done } = sweeper.next()
      if (done) sweeper = records.entries()
      else if (!alive(value[1], now)) forget(value[0])
    }
    for (const id of records.keys()) {
      if (records.size <= maxRecords) break
      forget(id)
    }
  }

  const note = (changes: readonly Change[]) => {
    const now = Date.now()
    for (const change of changes) apply(change, now)
    sweep(2 * changes.length, now)
  }

  const settle = () => {
    for (const id of index.ended(Date.now(), Infinity)) forget(id)
    return index
  }

  return {
    backend: 'memory',
    durable: false,
    shared: false,
    interruptedAt: 0,
    read(ids) {
      const now = Date.now()
      return ids.map(id => alive(records.get(id), now)?.fields)
    },
    write: async changes => note(changes),
    note,
    mark: (id, field, value, expiresAt) => note([{ id, set: oneField(field, value), expiresAt }]),
    hold: localHold,
    release: () => {},
    next: numbers.next,
    due: (target, priority, now, limit) => settle().due(target, priority, now, limit),
    earliest: () => settle().earliest(),
    hasten: async (target, dueAt) => void settle().hasten(target, dueAt),
    owed: target => settle().owed(target),
    depths: () => settle().depths(),
    weakest: (target, limit) => settle().weakest(target, limit),
    async list(prefix, after, limit) {
      // Who reads page after page lets others go on in between.
      await new Promise(setImmediate)
      const now = Date.now()
      const found = [...records]
        .filter(([id, kept]) => id.startsWith(prefix) && (after === undefined || id > after) && alive(kept, now))
        .sort(([a], [b]) => (a < b ? -1 : 1))
      return found.slice(0, limit).map(([id, { fields }]) => ({ id, fields }))
    },
    status: () => ({ backend: 'memory', available: true, warnings: [], unwritten: 0 }),
    close: async () => {}
  }
}

/** A hold where no other process can have the lanes: who comes first inside this one is the pipeline's own business. */
export function localHold(lanes: readonly string[]): Hold {
  return { lanes, valid: () => true }
}
