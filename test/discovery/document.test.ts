import fc from 'fast-check'
import t from 'tap'
import { readDocument } from '../../src/discovery/document.js'

t.test('JSON is read as itself, however it is spaced', async t => {
  const indents = [undefined, 1, 2, '\t', '\n ']
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(...indents), (value, indent) => {
      const text = JSON.stringify(value, undefined, indent)
      t.strictSame(readDocument(` ${text}\n`, 'config'), { ok: true, value: JSON.parse(text) }, text)
    })
  )
})

const alsoJson: [what: string, text: string, value: unknown][] = [
  ['a space within a text', '{"a b": "c  d"}', { 'a b': 'c  d' }],
  ['a quote within a text', String.raw`{"a": "say \"x  y\" , "}`, { a: 'say "x  y" , ' }],
  ['escapes that need not be', String.raw`{"a": "\u0041\/"}`, { a: 'A/' }],
  ['a number written at length', '[1.0, 1e2]', [1, 100]],
  ['names that are numbers', '{"b": 1, "1": 2}', { 1: 2, b: 1 }],
  ['what YAML would merge', '{"a": {"<<": {"b": 1}}}', { a: { '<<': { b: 1 } } }]
]
for (const [what, text, value] of alsoJson) {
  t.test(`JSON with ${what} is read as JSON has it`, async t => {
    t.strictSame(readDocument(text, 'config'), { ok: true, value })
  })
}

t.test('what JSON says twice is refused, as in YAML', async t => {
  for (const text of ['{"a": 1, "a": 2}', 'a: 1\na: 2', '{"b": [{"a": 1, "a": 1}]}']) {
    const reading = readDocument(text, 'config')
    t.match(reading, { ok: false, problems: [{ field: 'config', message: /duplicate key/ }] }, text)
  }
})
