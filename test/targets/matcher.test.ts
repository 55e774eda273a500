import fc from 'fast-check'
import t from 'tap'
import { type Matcher, matches, parseMatchers } from '../../src/targets/matcher.js'
import { patternOf } from '../../src/targets/pattern.js'

const m = (name: string, op: Matcher['op'], value: string): Matcher => ({ name, op, value })

const understood: [what: string, text: string, matchers: Matcher[]][] = [
  ['a bare value', 'foo=bar', [m('foo', '=', 'bar')]],
  ['a quoted value', 'foo="bar"', [m('foo', '=', 'bar')]],
  ['braces around one', '{foo="bar"}', [m('foo', '=', 'bar')]],
  ['white space everywhere', ' { foo = "bar" , dings != "bums" , } ', [m('foo', '=', 'bar'), m('dings', '!=', 'bums')]],
  ['not equal', 'foo!=bar', [m('foo', '!=', 'bar')]],
  ['a pattern', 'foo=~"bar.*"', [m('foo', '=~', 'bar.*')]],
  ['a bare pattern', 'foo=~[a-z]+', [m('foo', '=~', '[a-z]+')]],
  ['a bare pattern with a count, in braces', '{foo=~a{2}}', [m('foo', '=~', 'a{2}')]],
  ['a negated pattern', 'foo!~".*quux"', [m('foo', '!~', '.*quux')]],
  ['a list without braces', 'foo=bar,dings!=bums', [m('foo', '=', 'bar'), m('dings', '!=', 'bums')]],
  ['a trailing comma', 'foo=bar,', [m('foo', '=', 'bar')]],
  ['three of them', '{foo="bar",baz!~".*q", d="w"}', [m('foo', '=', 'bar'), m('baz', '!~', '.*q'), m('d', '=', 'w')]],
  ['a comma in quotes', '{foo="bar,quux", job="j"}', [m('foo', '=', 'bar,quux'), m('job', '=', 'j')]],
  ['a brace in quotes', 'foo="a}"', [m('foo', '=', 'a}')]],
  ['an empty quoted value', 'foo=""', [m('foo', '=', '')]],
  ['an empty bare value', 'foo=', [m('foo', '=', '')]],
  ['a bare value with spaces inside', 'foo= bar baz ', [m('foo', '=', 'bar baz')]],
  ['tildes after the operator', 'tricky=~~~', [m('tricky', '=~', '~~')]],
  ['bare escapes', String.raw`trickier==\\=\=\"`, [m('trickier', '=', String.raw`=\=\="`)]],
  ['escaped quotes', String.raw`quote="She said: \"Hi!\""`, [m('quote', '=', 'She said: "Hi!"')]],
  ['an escaped backslash', String.raw`foo="bar\\"`, [m('foo', '=', 'bar\\')]],
  ['an escaped line break', String.raw`foo="bar\n"`, [m('foo', '=', 'bar\n')]],
  [
    'a backslash of a pattern',
    String.raw`host=~"web-\d+\.example\.com"`,
    [m('host', '=~', String.raw`web-\d+\.example\.com`)]
  ],
  ['a bare backslash of a pattern', String.raw`host=~web-\d+`, [m('host', '=~', String.raw`web-\d+`)]],
  ['an emoji as value', 'foo=🙂bar', [m('foo', '=', '🙂bar')]],
  ['a quoted name', '"foo"="bar"', [m('foo', '=', 'bar')]],
  ['a quoted name with a space', '{"foo bar"!="baz"}', [m('foo bar', '!=', 'baz')]],
  ['a name with a comma', '{"a,b"="c",d="e"}', [m('a,b', '=', 'c'), m('d', '=', 'e')]],
  ['a bare name beyond the classic ones', 'service.name=~"a|b"', [m('service.name', '=~', 'a|b')]],
  ['an emoji as name', '🙂=bar', [m('🙂', '=', 'bar')]],
  ['bytes beside a quoted name', String.raw`"foo"="\xf0\x9f\x99\x82"`, [m('foo', '=', '🙂')]],
  ['code points beside a quoted name', String.raw`"foo"="\U0001f642\u00e9"`, [m('foo', '=', '🙂é')]],
  ['octal and letters beside a quoted name', String.raw`"foo"="\101\t\v\\"`, [m('foo', '=', 'A\t\v\\')]],
  ['escapes in a quoted name', String.raw`"fo\"o"="bar"`, [m('fo"o', '=', 'bar')]]
]
for (const [what, text, matchers] of understood) {
  t.test(`reads ${what}`, async t => t.strictSame(parseMatchers(text), { ok: true, matchers }))
}

const refused: [what: string, text: string, message: string][] = [
  ['nothing', '', 'holds no matcher'],
  ['empty braces', '{ }', 'holds no matcher'],
  ['a comma', ',', 'is not a matcher'],
  ['a comma in braces', '{,}', 'is not a matcher'],
  ['two commas', 'a=b,,c=d', 'is not a matcher'],
  ['an open brace', '{', 'has a { or a } without its counterpart'],
  ['a brace not closed', '{foo=bar', 'has a { or a } without its counterpart'],
  ['a brace not opened', 'foo=bar}', 'has a { or a } without its counterpart'],
  ['a name alone', 'foo', 'is not a matcher'],
  ['no name', '=bar', 'is not a matcher'],
  ['an empty quoted name', '""=bar', 'is not a matcher'],
  ['an unknown operator', 'foo~"bar"', 'is not a matcher'],
  ['half an operator', 'foo!bar', 'is not a matcher'],
  ['a quote not closed', 'job="value', 'is not a matcher'],
  ['a quote not opened', 'job=value"', 'is not a matcher'],
  ['a quote inside a bare value', 'job=foo"bar', 'is not a matcher'],
  ['text after a quoted value', 'job="foo"bar', 'is not a matcher'],
  ['a matcher in quotes', String.raw`"foo=\"bar\""`, 'is not a matcher'],
  ['a hyphen and a space in a bare name', 'invalid name = "x"', 'is not a matcher'],
  ['an unknown escape beside a quoted name', String.raw`"foo"="bar\w"`, 'is not a matcher'],
  ['bytes that are no UTF-8', String.raw`"foo"="\xf0\x9f"`, 'is not a matcher'],
  ['a surrogate as code point', String.raw`"foo"="\ud800"`, 'is not a matcher'],
  ['a code point too high', String.raw`"foo"="\UFFFFFFFF"`, 'is not a matcher'],
  ['an octal escape too high', String.raw`"foo"="\777"`, 'is not a matcher'],
  ['a raw line break beside a quoted name', '"foo"="a\nb"', 'is not a matcher']
]
for (const [what, text, message] of refused) {
  t.test(`refuses ${what}`, async t => t.strictSame(parseMatchers(text), { ok: false, message }))
}

const judged: [matcher: Matcher, label: string, holds: boolean][] = [
  [m('a', '=', 'x'), 'x', true],
  [m('a', '=', 'x'), 'xx', false],
  [m('a', '!=', 'x'), 'y', true],
  [m('a', '!=', 'x'), 'x', false],
  [m('a', '!=', 'x'), '', true],
  [m('a', '=', ''), '', true],
  [m('a', '=~', 'crit|warn'), 'crit', true],
  [m('a', '=~', 'crit|warn'), 'critical', false],
  [m('a', '=~', 'crit|warn'), 'xwarn', false],
  [m('a', '=~', 'a|ab'), 'ab', true],
  [m('a', '=~', 'a|ab'), 'a|ab', false],
  [m('a', '=~', 'a|'), '', true],
  [m('a', '=~', ''), '', true],
  [m('a', '=~', ''), 'a', false],
  [m('a', '=~', 'web-1:80/x y|b'), 'web-1:80/x y', true],
  [m('a', '=~', 'prod-.*|x'), 'prod-', true],
  [m('a', '=~', 'prod-.*|x'), 'a-prod-1', false],
  [m('a', '=~', String.raw`.*\.example\.com`), 'a.example.com', true],
  [m('a', '=~', String.raw`.*\.example\.com`), 'a.example-com', false],
  [m('a', '=~', '.*'), '', true],
  [m('a', '=~', '.+'), '', false],
  [m('a', '=~', '.*'), 'a\nb', false],
  [m('a', '=~', '(?s).*'), 'a\nb', true],
  [m('a', '=~', '.'), '🙂', true],
  [m('a', '=~', '(?i)ÄB'), 'äb', true],
  [m('a', '!~', 'crit|warn'), 'critical', true],
  [m('a', '!~', 'crit|warn'), 'warn', false]
]
for (const [matcher, label, holds] of judged) {
  const text = `${matcher.op} ${JSON.stringify(matcher.value)}`
  t.test(`${JSON.stringify(label)} ${holds ? 'satisfies' : 'does not satisfy'} ${text}`, async t => {
    t.equal(matches(matcher)(label), holds)
  })
}

t.test('a pattern that needs no engine means what it means to one', async t => {
  const piece = fc.constantFrom('a', 'b', '-', String.raw`\.`, '.*', '|', '\\', '.', '*')
  const patterns = fc
    .array(piece, { maxLength: 6 })
    .map(pieces => pieces.join(''))
    .filter(isPattern)
  const labels = fc
    .array(fc.constantFrom('a', 'b', '-', '.', '|', '\n', '\r', '*'), { maxLength: 5 })
    .map(pieces => pieces.join(''))
  fc.assert(
    fc.property(patterns, labels, (pattern, label) => {
      const holds = patternOf(pattern).testExact(label)
      t.equal(matches(m('a', '=~', pattern))(label), holds, JSON.stringify([pattern, label]))
      t.equal(matches(m('a', '!~', pattern))(label), !holds, JSON.stringify([pattern, label]))
    }),
    { numRuns: 2_000 }
  )
})

function isPattern(text: string): boolean {
  try {
    patternOf(text)
    return true
  } catch {
    return false
  }
}

t.test('a pattern and a text made to backtrack are over at once', async t => {
  t.equal(matches(m('a', '=~', '(a|aa)*b'))('a'.repeat(200_000)), false)
})

t.test('a megabyte of white space is no slower than any other', async t => {
  t.strictSame(parseMatchers(`a=${' '.repeat(2 ** 20)}b"`), { ok: false, message: 'is not a matcher' })
})
