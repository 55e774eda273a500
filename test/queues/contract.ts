import type { Test } from 'tap'
import type { Change, Fields, Place, Store } from '../../src/queues/contract.js'

/** One store under test. `reopen` closes it and opens it again on the same data; absent where nothing outlives it. */
export interface Subject {
  readonly store: Store
  reopen?(): Promise<Store>
  end(): Promise<void>
}

/** A store whose data outlives it, opened by `open` each time. */
export async function reopened(open: () => Promise<Store>): Promise<Required<Subject>> {
  let store = await open()
  return {
    store,
    reopen: async () => {
      await store.close()
      store = await open()
      return store
    },
    end: () => store.close()
  }
}

export const place = (more: Partial<Place> = {}): Place => ({
  target: 'a',
  priority: 'medium',
  dueAt: 1_000,
  acceptedAt: 500,
  ...more
})

const owed = (id: string, more: Partial<Place> = {}, rest: Partial<Change> = {}): Change => ({
  id: `entry/${id}`,
  set: { id },
  place: place(more),
  ...rest
})

/** What is read, as objects that compare with literals: of a record's fields nothing but names and values counts. */
export async function recordsOf(store: Store, ids: readonly string[]): Promise<(Fields | undefined)[]> {
  return (await store.read(ids)).map(fields => fields && { ...fields })
}

/** What every store must do, whatever it is built on. `open` gives an empty one. */
export function storeContract(t: Test, open: (t: Test) => Promise<Subject>): void {
  const check = (name: string, run: (t: Test, store: Store, subject: Subject) => Promise<void>) =>
    t.test(name, async t => {
      const subject = await open(t)
      t.teardown(() => subject.end())
      await run(t, subject.store, subject)
    })
  const later = () => Date.now() + 3_600_000

  check('what was written is read, in the order asked for', async (t, store) => {
    await store.write([{ id: 'alert/1', set: { a: { n: 1 }, b: ['x', null, true, 1.5, 'é\ud83d\ude00'] } }])
    t.strictSame(await recordsOf(store, ['none', 'alert/1']), [
      undefined,
      { a: { n: 1 }, b: ['x', null, true, 1.5, 'é😀'] }
    ])
  })

  check('a note is read at once, and again after a later write', async (t, store) => {
    store.note([{ id: 'alert/1', set: { a: 1 } }])
    t.strictSame(await recordsOf(store, ['alert/1']), [{ a: 1 }])
    store.note([{ id: 'alert/1', set: { b: 2 } }])
    await store.write([{ id: 'alert/1', set: { c: 3 } }])
    t.strictSame(await recordsOf(store, ['alert/1']), [{ a: 1, b: 2, c: 3 }])
  })

  check('a record that is known to be new changes on like any other', async (t, store, { reopen }) => {
    store.note([{ id: 'ledger/1', set: { m: 1 }, anew: true, expiresAt: later() }])
    store.mark('ledger/1', 'hook/1', 'd 202 1 3', later())
    t.strictSame(await recordsOf(store, ['ledger/1']), [{ m: 1, 'hook/1': 'd 202 1 3' }])
    await store.write([{ id: 'ledger/1', set: { m: 2 } }])
    const last = reopen ? await reopen() : store
    t.strictSame(await recordsOf(last, ['ledger/1']), [{ m: 2, 'hook/1': 'd 202 1 3' }])
  })

  check(
    'fields change one by one; null removes one, undefined leaves it; replace keeps none of the old ones',
    async (t, store) => {
      await store.write([{ id: 'ledger/1', set: { a: 1, b: 2, c: 3 } }])
      await store.write([{ id: 'ledger/1', set: { b: 20, c: null, a: undefined } }])
      t.strictSame(await recordsOf(store, ['ledger/1']), [{ a: 1, b: 20 }])
      await store.write([{ id: 'ledger/1', set: { d: 4 }, replace: true }])
      t.strictSame(await recordsOf(store, ['ledger/1']), [{ d: 4 }])
    }
  )

  check('changes of one write are applied in order', async (t, store) => {
    await store.write([
      { id: 'x', set: { a: 1 } },
      { id: 'x', set: { a: 2 } },
      { id: 'y', set: { a: 1 } },
      { id: 'y', drop: true },
      { id: 'z', drop: true },
      { id: 'z', set: { b: 1 } }
    ])
    t.strictSame(await recordsOf(store, ['x', 'y', 'z']), [{ a: 2 }, undefined, { b: 1 }])
  })

  check('a record without fields is a record', async (t, store) => {
    await store.write([{ id: 'entry/1', place: place() }, { id: 'x' }])
    t.strictSame(await recordsOf(store, ['entry/1', 'x']), [{}, {}])
  })

  check('what was read does not change with the record', async (t, store) => {
    await store.write([{ id: 'x', set: { a: 1 } }])
    const [before] = await store.read(['x'])
    await store.write([{ id: 'x', set: { a: 2, b: 1 } }])
    t.strictSame(before, { a: 1 })
  })

  check('a dropped record leaves every index', async (t, store) => {
    await store.write([owed('1'), owed('2')])
    await store.write([{ id: 'entry/1', drop: true }])
    t.strictSame(await recordsOf(store, ['entry/1']), [undefined])
    t.strictSame(await store.due('a', 'medium', 5_000, 10), ['entry/2'])
    t.strictSame(await store.list('entry/', undefined, 10), [{ id: 'entry/2', fields: { id: '2' } }])
    await store.write([{ id: 'entry/2', drop: true }])
    t.strictSame(await store.depths(), [])
    t.strictSame(await store.earliest(), new Map())
  })

  check('a place of null takes the record out of the queue and keeps it', async (t, store) => {
    await store.write([owed('1')])
    await store.write([{ id: 'entry/1', place: null }])
    t.strictSame(await store.due('a', 'medium', 5_000, 10), [])
    t.strictSame(await recordsOf(store, ['entry/1']), [{ id: '1' }])
    t.equal(await store.owed('a'), 0)
  })

  check('a record that is changed without a place keeps the one it has', async (t, store) => {
    await store.write([owed('1')])
    await store.write([{ id: 'entry/1', set: { tries: 1 }, expiresAt: later() }])
    await store.write([{ id: 'entry/1', set: { tries: 2 }, replace: true }])
    t.strictSame(await store.due('a', 'medium', 5_000, 10), ['entry/1'])
    t.strictSame(await recordsOf(store, ['entry/1']), [{ tries: 2 }])
  })

  check('entries are due by priority, longest due first, then by id, as many as asked for', async (t, store) => {
    await store.write([
      owed('3', { dueAt: 300 }),
      owed('1', { dueAt: 100 }),
      owed('2b', { dueAt: 200 }),
      owed('2a', { dueAt: 200 }),
      owed('4', { dueAt: 400 }),
      owed('h', { dueAt: 200, priority: 'high' }),
      owed('other', { target: 'b', dueAt: 1 })
    ])
    t.strictSame(await store.due('a', 'medium', 300, 10), ['entry/1', 'entry/2a', 'entry/2b', 'entry/3'])
    t.strictSame(await store.due('a', 'medium', 300, 2), ['entry/1', 'entry/2a'])
    t.equal((await store.due('a', 'medium', Infinity, 10)).length, 5)
    t.strictSame(await store.due('a', 'high', 300, 10), ['entry/h'])
    t.strictSame(await store.due('a', 'low', 300, 10), [])
    t.strictSame(await store.due('nobody', 'low', 300, 10), [])
  })

  check('a moved entry is found only where it is now', async (t, store) => {
    await store.write([owed('1')])
    await store.write([{ id: 'entry/1', place: place({ target: 'b', priority: 'low', dueAt: 70, acceptedAt: 9 }) }])
    t.strictSame(await store.due('a', 'medium', 5_000, 10), [])
    t.strictSame(await store.due('b', 'low', 5_000, 10), ['entry/1'])
    t.strictSame(await store.depths(), [{ target: 'b', counts: { high: 0, medium: 0, low: 1 }, oldest: { low: 9 } }])
  })

  check('the earliest due time is told for each target', async (t, store) => {
    await store.write([
      owed('1', { dueAt: 50 }),
      owed('2', { dueAt: 40, priority: 'low' }),
      owed('3', { target: 'b', dueAt: 9_000_000_000_000 })
    ])
    t.strictSame([...(await store.earliest())].sort(), [
      ['a', 40],
      ['b', 9_000_000_000_000]
    ])
  })

  check('hasten moves what lies later, and nothing else', async (t, store) => {
    await store.write([
      owed('1', { dueAt: 50 }),
      owed('2', { dueAt: 9_000 }),
      owed('3', { dueAt: 8_000, priority: 'low' }),
      owed('4', { dueAt: 9_000, target: 'b' })
    ])
    await store.hasten('a', 100)
    t.strictSame(await store.due('a', 'medium', 100, 10), ['entry/1', 'entry/2'])
    t.strictSame(await store.due('a', 'low', 100, 10), ['entry/3'])
    t.strictSame(await store.due('b', 'medium', 100, 10), [])
    await store.write([owed('5', { dueAt: 500 })])
    await store.hasten('a', 200)
    t.strictSame(await store.due('a', 'medium', 200, 10), ['entry/1', 'entry/2', 'entry/5'])
    await store.hasten('nobody', 1)
  })

  check('hasten moves thousands', async (t, store) => {
    const entries = Array.from({ length: 1_700 }, (_, n) => owed(String(n), { dueAt: 10_000 + n }))
    await store.write(entries)
    await store.hasten('a', 100)
    t.equal((await store.due('a', 'medium', 100, 5_000)).length, 1_700)
  })

  check('depths tell counts and the oldest of each priority', async (t, store) => {
    await store.write([
      owed('1', { priority: 'high', acceptedAt: 30 }),
      owed('2', { priority: 'high', acceptedAt: 20 }),
      owed('3', { priority: 'low', acceptedAt: 10 }),
      owed('4', { target: 'b', acceptedAt: 5 })
    ])
    const depths = [...(await store.depths())].sort((x, y) => (x.target < y.target ? -1 : 1))
    t.strictSame(depths, [
      { target: 'a', counts: { high: 2, medium: 0, low: 1 }, oldest: { high: 20, low: 10 } },
      { target: 'b', counts: { high: 0, medium: 1, low: 0 }, oldest: { medium: 5 } }
    ])
    t.equal(await store.owed('a'), 3)
    t.equal(await store.owed('nobody'), 0)
  })

  check('the weakest is of the lowest priority, then the oldest accepted', async (t, store) => {
    t.strictSame(await store.weakest('a', 10), [])
    await store.write([
      owed('old-high', { priority: 'high', acceptedAt: 1 }),
      owed('medium-2', { acceptedAt: 20, dueAt: 1 }),
      owed('medium-1', { acceptedAt: 10, dueAt: 2 })
    ])
    t.strictSame(await store.weakest('a', 2), ['entry/medium-1', 'entry/medium-2'])
    await store.write([owed('low', { priority: 'low', acceptedAt: 99 })])
    t.strictSame(await store.weakest('a', 1), ['entry/low'])
    t.strictSame(await store.weakest('a', 3), ['entry/low', 'entry/medium-1', 'entry/medium-2'])
    t.equal((await store.weakest('a', 10)).at(-1), 'entry/old-high')
  })

  check('a list is paged in id order and stays within its prefix', async (t, store) => {
    await store.write([
      ...['d', 'b', 'a', 'c'].map(id => ({ id: `dead/${id}`, set: { id } })),
      owed('z'),
      { id: 'alert/1', set: { id: 1 } }
    ])
    const first = await store.list('dead/', undefined, 3)
    t.strictSame(first, [
      { id: 'dead/a', fields: { id: 'a' } },
      { id: 'dead/b', fields: { id: 'b' } },
      { id: 'dead/c', fields: { id: 'c' } }
    ])
    t.strictSame(await store.list('dead/', 'dead/c', 3), [{ id: 'dead/d', fields: { id: 'd' } }])
    t.strictSame(await store.list('dead/', 'dead/bb', 1), [{ id: 'dead/c', fields: { id: 'c' } }])
    t.strictSame(await store.list('dead/', 'dead/d', 3), [])
    t.strictSame(await store.list('entry/', undefined, 3), [{ id: 'entry/z', fields: { id: 'z' } }])
  })

  check(
    'an update of what is not there changes nothing, and a record without fields can be tidied away',
    async (t, store) => {
      await store.write([
        { id: 'entry/gone', set: { running: true }, place: place(), update: true },
        owed('1'),
        { id: 'entry/1', set: { running: true }, update: true },
        { id: 'slot/1', set: { a: 1, b: 1 } }
      ])
      t.strictSame(await recordsOf(store, ['entry/gone', 'entry/1']), [undefined, { id: '1', running: true }])
      t.strictSame(await store.due('a', 'medium', 5_000, 10), ['entry/1'])
      t.equal((await store.list('entry/', undefined, 10)).length, 1)
      await store.write([{ id: 'slot/1', set: { a: null }, tidy: true }])
      t.strictSame(await recordsOf(store, ['slot/1']), [{ b: 1 }])
      await store.write([{ id: 'slot/1', set: { b: null }, tidy: true }])
      t.strictSame(await recordsOf(store, ['slot/1']), [undefined])
    }
  )

  check('an expired record is gone, its place and its line in the list too', async (t, store) => {
    await store.write([
      { id: 'ledger/1', set: { a: 1 }, expiresAt: Date.now() - 1 },
      { id: 'dead/1', set: { a: 1 }, expiresAt: Date.now() - 1 },
      owed('1', {}, { expiresAt: Date.now() - 1 }),
      owed('2', {}, { expiresAt: later() })
    ])
    t.strictSame(await recordsOf(store, ['ledger/1', 'dead/1', 'entry/1', 'entry/2']), [
      undefined,
      undefined,
      undefined,
      { id: '2' }
    ])
    t.strictSame(await store.list('dead/', undefined, 10), [])
    t.strictSame(await store.due('a', 'medium', 5_000, 10), ['entry/2'])
    t.equal(await store.owed('a'), 1)
    t.strictSame(await store.weakest('a', 10), ['entry/2'])
    t.strictSame((await store.depths())[0]?.counts, { high: 0, medium: 1, low: 0 })
  })

  check('an expired record starts anew when it is written again', async (t, store) => {
    await store.write([owed('1', {}, { expiresAt: Date.now() - 1 })])
    await store.write([{ id: 'entry/1', set: { b: 1 } }])
    t.strictSame(await recordsOf(store, ['entry/1']), [{ b: 1 }])
    t.strictSame(await store.due('a', 'medium', 5_000, 10), [])
  })

  check('the end stays as it was where none is given, and can be taken away', async (t, store) => {
    const end = Date.now() + 400
    await store.write(['x', 'y'].map(id => ({ id, set: { a: 1 }, expiresAt: end })))
    await store.write([
      { id: 'x', set: { b: 1 } },
      { id: 'y', set: { b: 1 }, expiresAt: Infinity }
    ])
    await until(end)
    t.strictSame(await recordsOf(store, ['x', 'y']), [undefined, { a: 1, b: 1 }])
  })

  check('numbers grow', async (t, store) => {
    const numbers: number[] = []
    for (let count = 0; count < 50; count++) numbers.push(await store.next())
    t.ok(
      numbers.every((number, index) => Number.isSafeInteger(number) && (index === 0 || number > numbers[index - 1]!))
    )
  })

  check('a hold is valid while it is held, and its lanes can be had again after it', async (t, store) => {
    const hold = await store.hold(['a/1', 'a/2'])
    t.strictSame(hold?.lanes, ['a/1', 'a/2'])
    t.equal(hold?.valid(), true)
    await store.write([{ id: 'x', set: { a: 1 } }], hold)
    store.release(hold!)
    t.ok(await store.hold(['a/2', 'a/3']))
    t.strictSame(await recordsOf(store, ['x']), [{ a: 1 }])
  })

  check('nothing to do is done', async (t, store) => {
    await store.write([])
    store.note([])
    t.strictSame(await recordsOf(store, []), [])
  })

  check('odd ids and names are told apart', async (t, store) => {
    const ids = [
      '',
      ' ',
      'entry/ä',
      'entry/é',
      `entry/${'x'.repeat(5_000)}1`,
      `entry/${'x'.repeat(5_000)}2`,
      'a\u0000b',
      'a'
    ]
    await store.write(ids.filter(id => id !== '').map((id, n) => ({ id, set: { n, '': n, [`${id} odd`]: n } })))
    const found = await store.read(ids)
    t.strictSame(found, [undefined, ...ids.slice(1).map((id, n) => ({ n, '': n, [`${id} odd`]: n }))])
  })

  check('its status says that all is well', async (t, store) => {
    const { available, warnings, unwritten } = await store.status()
    t.strictSame({ available, warnings, unwritten }, { available: true, warnings: [], unwritten: 0 })
  })

  check('everything is there after it was closed and opened again', async (t, store, { reopen }) => {
    if (!reopen) return
    await store.write([
      owed('1', { dueAt: 700 }),
      owed('2', { target: 'b', priority: 'low' }),
      { id: 'x', set: { a: 1 } }
    ])
    const end = Date.now() + 400
    await store.write(['y', 'z'].map(id => ({ id, set: { a: 1 }, expiresAt: end })))
    await store.write([{ id: 'z', expiresAt: Infinity }])
    await store.hasten('b', 600)
    store.note([{ id: 'x', set: { b: 2 } }])
    const number = await store.next()
    const again = await reopen()
    t.strictSame(await recordsOf(again, ['entry/1', 'x']), [{ id: '1' }, { a: 1, b: 2 }])
    t.strictSame([...(await again.earliest())].sort(), [
      ['a', 700],
      ['b', 600]
    ])
    t.strictSame(await again.due('b', 'low', 600, 10), ['entry/2'])
    t.equal((await again.weakest('b', 10))[0], 'entry/2')
    t.ok((await again.next()) > number)
    await until(end)
    t.strictSame(await recordsOf(again, ['y', 'z']), [undefined, { a: 1 }])
  })
}

/** An end is told by the clock, which is the store's own: there is no other way than to wait for it. */
function until(end: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, end - Date.now() + 5))
}
