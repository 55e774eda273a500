import t from 'tap'
import { SharedValues, Staged } from '../../src/queues/staged.js'

t.test('what could not be journalled is staged anew with all that was marked in it', async t => {
  const set = { k: 'firing' }
  const change = { id: 'alert/1', set, expiresAt: 5 }
  const staged = new Staged('alert/1', {}, change, { fields: set, expiresAt: 5 }, undefined)
  staged.mark('t:hook', 'has it', 7)
  const expected = { id: 'alert/1', set: { k: 'firing', 't:hook': 'has it' }, expiresAt: 7 }
  t.strictSame(JSON.parse(staged.written(new SharedValues())), expected)
  t.strictSame(staged.change, expected)
  t.strictSame(JSON.parse(staged.written(new SharedValues())), expected, 'tried again')
  t.strictSame(staged.kept?.fields, expected.set)
})
