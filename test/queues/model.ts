import fc from 'fast-check'
import type { Change, Place, Priority, Store } from '../../src/queues/contract.js'

/** The store as anybody would write it who had no need of speed, disks or other processes. */
function model() {
  type Entry = { fields: Record<string, unknown>; expired: boolean; place: Place | null }
  const records = new Map<string, Entry>()
  const owed = (target: string, priority?: Priority) =>
    [...records]
      .filter(([, { place }]) => place?.target === target && (priority === undefined || place.priority === priority))
      .map(([id, { place }]) => ({ id, ...place! }))
  const first = <T extends { id: string }>(list: T[], by: (item: T) => number) =>
    list.sort((a, b) => by(a) - by(b) || (a.id < b.id ? -1 : 1))
  const targets = () => [...new Set([...records.values()].flatMap(({ place }) => (place ? [place.target] : [])))].sort()
  return {
    apply(changes: readonly Change[]) {
      for (const { id, set, replace, update, drop, tidy, expiresAt, place } of changes) {
        const old = records.get(id)
        if (update && !old) continue
        const fields = replace ? {} : { ...old?.fields }
        for (const [name, value] of Object.entries(set ?? {})) {
          if (value === null) delete fields[name]
          else fields[name] = value
        }
        records.delete(id)
        const expired = expiresAt === undefined ? false : expiresAt <= Date.now()
        const isEmpty = Object.keys(fields).length === 0
        if (!drop && !expired && !(tidy && isEmpty))
          records.set(id, { fields, expired, place: place === undefined ? (old?.place ?? null) : place })
      }
    },
    read: (ids: readonly string[]) => ids.map(id => records.get(id)?.fields),
    due: (target: string, priority: Priority, now: number, limit: number) =>
      first(owed(target, priority), item => item.dueAt)
        .filter(item => item.dueAt <= now)
        .slice(0, limit)
        .map(item => item.id),
    earliest: () => targets().map(target => [target, Math.min(...owed(target).map(item => item.dueAt))]),
    hasten(target: string, dueAt: number) {
      for (const entry of records.values()) {
        if (entry.place?.target === target) entry.place = { ...entry.place, dueAt: Math.min(entry.place.dueAt, dueAt) }
      }
    },
    owed: (target: string) => owed(target).length,
    depths: () =>
      targets().map(target => {
        const counts = { high: 0, medium: 0, low: 0 }
        const oldest: Record<string, number> = {}
        for (const { priority, acceptedAt } of owed(target)) {
          counts[priority]++
          oldest[priority] = Math.min(oldest[priority] ?? Infinity, acceptedAt)
        }
        return { target, counts, oldest }
      }),
    weakest: (target: string, limit: number) =>
      (['low', 'medium', 'high'] as const)
        .flatMap(priority => first(owed(target, priority), item => item.acceptedAt))
        .slice(0, limit)
        .map(({ id }) => id),
    list: (prefix: string, after: string | undefined, limit: number) =>
      [...records.keys()]
        .filter(id => id.startsWith(prefix) && (after === undefined || id > after))
        .sort()
        .slice(0, limit)
        .map(id => ({ id, fields: records.get(id)!.fields }))
  }
}

const ids = ['entry/1', 'entry/2', 'entry/3', 'entry/4', 'dead/1', 'dead/2', 'alert/1', 'ledger/1']
const targets = ['a', 'b']
const anyPlace = fc.record({
  target: fc.constantFrom(...targets),
  priority: fc.constantFrom<Priority>('high', 'medium', 'low'),
  dueAt: fc.integer({ min: 0, max: 20 }),
  acceptedAt: fc.integer({ min: 0, max: 20 })
})
const anyPlainChange: fc.Arbitrary<Change> = fc.record(
  {
    id: fc.constantFrom(...ids),
    set: fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.oneof(fc.integer(), fc.constant(null), fc.string())),
    replace: fc.boolean(),
    drop: fc.integer({ max: 4 }).map(n => n === 4),
    expiresAt: fc.constantFrom(1, 9_000_000_000_000, Infinity, 9_000_000_000_000),
    place: fc.oneof(anyPlace, fc.constant(null))
  },
  { requiredKeys: ['id'] }
)
const anyChange: fc.Arbitrary<Change> = fc
  .tuple(anyPlainChange, fc.constantFrom<Partial<Change>>({}, {}, { update: true }, { tidy: true }))
  .map(([change, more]) => (change.replace || change.drop ? change : { ...change, ...more }))
const anyChanges = fc.array(anyChange, { maxLength: 4 })
const at = fc.integer({ min: 0, max: 20 })
const target = fc.constantFrom(...targets)

const anyOperation = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom<'write' | 'note'>('write', 'note'), changes: anyChanges })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('mark' as const),
      id: fc.constantFrom(...ids),
      field: fc.constantFrom('a', 'b', 'c'),
      value: fc.oneof(fc.integer(), fc.string()),
      expiresAt: fc.constantFrom(1, 9_000_000_000_000, 9_000_000_000_001, Infinity)
    })
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('hasten' as const), target, dueAt: at }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('look' as const), now: at, limit: fc.integer({ min: 1, max: 4 }) })
  }
)

/**
 * Random operations on a store and on the model; after each look they must agree on everything that can be seen.
 * `open` gives an empty store and, where something outlives it, a way to open it again.
 */
export function storeProperty(open: () => Promise<{ store: Store; reopen?(): Promise<Store>; end(): Promise<void> }>) {
  return fc.asyncProperty(fc.array(anyOperation, { maxLength: 25 }), async operations => {
    const subject = await open()
    let { store } = subject
    const expected = model()
    try {
      for (const operation of [...operations, { kind: 'look' as const, now: 10, limit: 3 }]) {
        if (operation.kind === 'write' || operation.kind === 'note') {
          expected.apply(operation.changes)
          await store[operation.kind](operation.changes)
        } else if (operation.kind === 'mark') {
          const { id, field, value, expiresAt } = operation
          expected.apply([{ id, set: { [field]: value }, expiresAt }])
          store.mark(id, field, value, expiresAt)
        } else if (operation.kind === 'hasten') {
          expected.hasten(operation.target, operation.dueAt)
          await store.hasten(operation.target, operation.dueAt)
        } else if (operation.kind === 'reopen') {
          store = (await subject.reopen?.()) ?? store
        } else if (operation.kind === 'look') {
          same(await seen(store, operation), await seen(expected, operation))
        }
      }
    } finally {
      await subject.end()
    }
  })
}

type Looks = Pick<Store, 'read' | 'due' | 'owed' | 'weakest'> & {
  earliest(): unknown
  depths(): unknown
  list(prefix: string, after: string | undefined, limit: number): unknown
}

async function seen(store: Looks, { now, limit }: { now: number; limit: number }) {
  const queues = targets.flatMap(target => (['high', 'medium', 'low'] as const).map(priority => ({ target, priority })))
  const depths = (await store.depths()) as { target: string }[]
  return {
    records: await store.read(ids),
    due: await Promise.all(queues.map(({ target, priority }) => store.due(target, priority, now, limit))),
    earliest: Object.fromEntries((await store.earliest()) as Iterable<[string, number]>),
    owed: await Promise.all(targets.map(target => store.owed(target))),
    depths: depths.sort((a, b) => (a.target < b.target ? -1 : 1)),
    weakest: await Promise.all(targets.map(target => store.weakest(target, limit))),
    lists: await Promise.all([
      store.list('entry/', undefined, limit),
      store.list('entry/', 'entry/2', limit),
      store.list('dead/', 'dead/1', limit)
    ])
  }
}

function same(actual: unknown, expected: unknown) {
  const [a, b] = [actual, expected].map(value => JSON.stringify(value, sortedKeys))
  if (a !== b) throw new Error(`the store shows\n${a}\nbut should show\n${b}`)
}

function sortedKeys(_: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value === undefined ? null : value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
