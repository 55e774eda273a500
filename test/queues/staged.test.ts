import t from 'tap'
import type { Change } from '../../src/queues/contract.js'
import { type Kept, Packed, Shared } from '../../src/queues/record.js'
import { SharedValues, Staged } from '../../src/queues/staged.js'
import { collectGarbage } from '../support/garbage.js'
import { place } from './contract.js'

function journalled(staged: Staged): unknown {
  const pieces: string[] = []
  staged.write(pieces, new SharedValues())
  return JSON.parse(pieces.join(''))
}

t.test('what could not be journalled is staged anew with all that was marked in it', async t => {
  const set = { k: 'firing' }
  const change = { id: 'alert/1', set, expiresAt: 5 }
  const staged = new Staged('alert/1', {}, change, { fields: set, expiresAt: 5 }, undefined)
  staged.mark('t:hook', 'has it', 7)
  const expected = { id: 'alert/1', set: { k: 'firing', 't:hook': 'has it' }, expiresAt: 7 }
  t.strictSame(journalled(staged), expected)
  t.strictSame(staged.change, expected)
  t.strictSame(journalled(staged), expected, 'tried again')
  t.strictSame(staged.kept?.fields, expected.set)
})

t.test('marks go over a text that nobody has to read, as they would over what it says', async t => {
  const over = () => {
    const staged = Staged.over('5;{"k":"firing","t:hook":"-"}', 'alert/1', {})
    staged.mark('t:hook', 'has it', 7)
    staged.mark('n', 1, 8)
    return staged
  }
  const marked = { id: 'alert/1', set: { 't:hook': 'has it', n: 1 }, expiresAt: 8 }
  const all = { k: 'firing', 't:hook': 'has it', n: 1 }

  const unread = over()
  t.strictSame(
    [7, 8].map(now => unread.isAlive(now)),
    [true, false]
  )
  t.strictSame(journalled(unread), marked)
  t.strictSame([unread.kept?.fields, unread.kept?.expiresAt], [all, 8])
  t.equal(unread.row, unread.text)
  t.strictSame(journalled(unread), { ...marked, set: all }, 'tried again')

  const read = over()
  t.strictSame({ ...read.kept?.fields }, all)
  read.mark('n', 2, 9)
  t.strictSame(journalled(read), { ...marked, set: { 't:hook': 'has it', n: 2 }, expiresAt: 9 })
  t.strictSame([{ ...read.kept?.fields }, read.kept?.expiresAt], [{ ...all, n: 2 }, 9])

  const endless = Staged.over('5;{}', 'alert/1', {})
  endless.mark('n', 1, Infinity)
  t.strictSame(journalled(endless), { id: 'alert/1', set: { n: 1 }, expiresAt: null })
  t.equal(endless.text, 'Infinity;{"n":1}')
})

t.test('what was journalled before is kept as text, but for what others have as well', async t => {
  const packed = (change: Change, kept: Kept | undefined) => {
    const staged = new Staged(change.id, {}, change, kept, change.place)
    staged.pack(new SharedValues())
    return staged.row
  }
  const set = { a: 1 }
  t.equal(packed({ id: '1', set }, { fields: set, expiresAt: 5 }), '5;{"a":1}')
  t.equal(packed({ id: '1', set }, { fields: { a: 1, b: 2 }, expiresAt: 5 }), '5;{"a":1,"b":2}', 'it was changed')
  t.strictSame(packed({ id: '1', drop: true }, undefined), { kept: undefined, place: undefined })
  const owed = { id: '1', set: { alerts: [1] }, replace: true, place: place() }
  const row = packed(owed, { fields: owed.set, expiresAt: 5 }) as { kept: Kept }
  t.ok(row.kept instanceof Packed)
  t.strictSame(row.kept.fields, { alerts: [1] })
})

t.test('of a long value that several records have there is one copy, whoever reads it', async t => {
  const listOf = () => Array.from({ length: 300 }, (_, number) => ({ number }))
  const list = listOf()
  t.equal(Shared.of(list), Shared.of(list))
  t.equal(Shared.of(list).value, list)
  t.not(Shared.of(listOf()), Shared.of(list), 'another list is another value')
  const text = 'é'.repeat(60_000)
  t.equal(Shared.of(text), Shared.of(`${text}`))
  t.not(Shared.of(`${text}!`), Shared.of(text))
  for (const value of [list, text, [1], 'short', null]) t.strictSame(JSON.parse(Shared.of(value).json), value)
  for (const value of [[1], 'short', null]) t.strictSame(Shared.of(value).value, value)
})

t.test('a long list that nobody has any more is read again, once for all who read it', async t => {
  const shared = Shared.of(Array.from({ length: 300 }, (_, number) => ({ number })))
  await new Promise(setImmediate)
  collectGarbage()
  const read = shared.value as unknown[]
  t.equal(read.length, 300)
  t.strictSame(read[299], { number: 299 })
  t.equal(shared.value, read)
  t.equal(Shared.of(read), shared)
})
