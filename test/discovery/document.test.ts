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

t.test('what is nested too deeply, or refers too often, is refused, and what is merely large is not', async t => {
  const deep = ['['.repeat(100_000), '- '.repeat(100_000), '? '.repeat(100_000), `a:\n${' '.repeat(500)}b: 1`]
  // Twice: where the stack ends the library did not survive the second time.
  for (const text of [...deep, ...deep])
    t.match(readDocument(text, 'config'), {
      problems: [{ field: 'config', message: 'is not valid YAML or JSON: it is nested too deeply' }]
    })
  const aliases = `- &a x\n${'- *a\n'.repeat(10_001)}`
  t.match(readDocument(aliases, 'config'), { problems: [{ message: 'has more than 10000 aliases' }] })
  const keys = Array.from({ length: 30_000 }, (_, index) => `  X-${index}: v`)
  t.match(readDocument(`headers:\n${keys.join('\n')}`, 'config'), { ok: true, value: { headers: { 'X-29999': 'v' } } })
  t.match(readDocument(`a: ${'"'.repeat(100_000)}`, 'config'), { problems: [{ message: /line 1, column \d+/ }] })
  t.match(readDocument(`a: ${'['.repeat(50)}${']'.repeat(50)}`, 'config'), { ok: true })
})

t.test('thousands of targets may share an anchor, by an alias or a merge key', async t => {
  const ca = 'x'.repeat(4_000)
  const targets = Array.from({ length: 3_000 }, (_, index) => `- { <<: *base, name: t${index}, headers: *headers }\n`)
  const text = `x: { base: &base { tls: { ca: ${ca} } }, headers: &headers { X-A: b } }\ntargets:\n${targets.join('')}`
  const reading = readDocument(text, 'config')
  t.match(reading, { ok: true, value: { targets: { length: 3_000 } } })
  const { targets: read } = (reading as { value: { targets: object[] } }).value
  t.strictSame(read[2_999], { tls: { ca }, name: 't2999', headers: { 'X-A': 'b' } })
})

const laughs = (line: (before: string) => string) => [
  'a0: &a0 { x: [lol, lol, lol] }',
  ...Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} ${line(`*a${i}`)}`)
]
const endless: [what: string, text: string][] = [
  ['aliases of aliases', laughs(before => `[${Array(9).fill(before)}]`).join('\n')],
  ['merge keys of merge keys', laughs(before => `{ <<: [${before}, ${before}], more: 1 }`).join('\n')],
  ['a long text too often', `a: &a ${'x'.repeat(100_000)}\nb: [${Array(1_000).fill('*a')}]`],
  ['a list that holds itself', 'a: &a [*a]'],
  ['a list that holds itself, by a name that was taken', 'a: &a 1\nb: &a { c: [*a] }']
]
for (const [what, text] of endless) {
  t.test(`a document of ${what} is refused, however short it is`, async t => {
    const message = 'is too long: written out, its aliases come to more than 32 MiB, or one holds itself'
    t.match(readDocument(text, 'config'), { ok: false, problems: [{ field: 'config', message }] })
  })
}
