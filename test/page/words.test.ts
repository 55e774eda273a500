import t from 'tap'
import { ago, counted, span, took } from '../../src/page/words.js'

t.test('durations are told in the one unit that matters', async t => {
  const second = 1000
  const day = 86_400 * second
  t.same(
    [
      -5,
      400,
      12 * second,
      89 * second,
      91 * second,
      89 * 60 * second,
      5_400 * second,
      47 * 3_600 * second,
      3 * day
    ].map(span),
    ['0 s', '0 s', '12 s', '89 s', '2 min', '89 min', '2 h', '47 h', '3 days'].map(text => text.replace(' ', '\u00a0'))
  )
})

t.test('measured times keep the digits that are worth keeping', async t => {
  t.same(
    [0, 0.44, 1, 88.4, 999, 1_240, 9_940, 9_960, 61_000].map(took),
    ['0.0 ms', '0.4 ms', '1 ms', '88 ms', '999 ms', '1.2 s', '9.9 s', '10 s', '61 s'].map(text =>
      text.replace(' ', '\u00a0')
    )
  )
})

t.test('counts agree with their noun', async t => {
  t.same(
    [counted(1, 'alert'), counted(0, 'alert'), counted(1204, 'try', 'tries')],
    ['1 alert', '0 alerts', '1,204 tries']
  )
})

t.test('the last moment is just now', async t => {
  t.same([ago(1_000, 2_000), ago(0, 12_000)], ['just now', '12\u00a0s ago'])
})
