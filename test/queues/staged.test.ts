import t from 'tap'
import { Shared } from '../../src/queues/record.js'
import { SharedValues, Staged } from '../../src/queues/staged.js'
import { collectGarbage } from '../support/garbage.js'

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
