import t from 'tap'
import { cut, json, lateness } from '../../src/targets/text.js'

t.test('a text is cut by code point, and the cut is told', async t => {
  const cases: [string, number, string][] = [
    ['', 3, ''],
    ['abc', 3, 'abc'],
    ['abcd', 3, 'ab…'],
    ['😀😀😀', 3, '😀😀😀'],
    ['😀😀😀😀', 3, '😀😀…'],
    ['ab😀d', 3, 'ab…'],
    ['a😀cd', 3, 'a😀…'],
    ['😀', 1, '😀'],
    ['ab', 1, '…'],
    ['\ud800\ud800\ud800\ud800', 3, '\ud800\ud800…'],
    ['x'.repeat(2_000_000), 2, 'x…']
  ]
  for (const [text, max, expected] of cases) {
    let cuts = 0
    t.equal(
      cut(text, max, () => cuts++),
      expected
    )
    t.equal(cuts, expected === text ? 0 : 1)
  }
})

t.test('JSON carries no lone surrogate, in names or in texts, and changes nothing else', async t => {
  const same = {
    'a"b': 'c\\d \\ud800 \\\\udfff',
    emoji: '😀',
    control: '\u0000\u001f\n',
    list: [1, null, true, 'ud800']
  }
  t.same(JSON.parse(json(same)), same)
  t.same(JSON.parse(json({ 'x\ud800': ['\udfff', 'a\udc00b\\\ud83d'] })), { 'x\ufffd': ['\ufffd', 'a\ufffdb\\\ufffd'] })
})

t.test('a message is called late after a minute', async t => {
  const cases: [number, string | undefined][] = [
    [0, undefined],
    [60_000, undefined],
    [60_001, 'late by 1 min'],
    [720_000, 'late by 12 min'],
    [119 * 60_000, 'late by 119 min'],
    [120 * 60_000, 'late by 2 h'],
    [26 * 3_600_000, 'late by 26 h']
  ]
  for (const [ms, expected] of cases) t.equal(lateness(ms), expected, `${ms}`)
})
