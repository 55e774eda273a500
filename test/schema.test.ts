import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import Type, { type TSchema } from 'typebox'
import { Duration, durationMs, reader, SecretText, Size } from '../src/schema.js'
import { Secret } from '../src/secret.js'

const Thing = Type.Object(
  {
    name: Type.String({ minLength: 1, description: 'what it is called' }),
    wait: Duration({ default: '10s' }),
    room: Type.Optional(Size()),
    token: Type.Optional(SecretText()),
    mode: Type.Optional(Type.Enum(['fast', 'slow'])),
    texts: Type.Optional(Type.Record(Type.String(), Type.String(), { description: 'a map of names to texts' })),
    list: Type.Optional(Type.Array(Type.Object({ each: Duration() }))),
    hidden: Type.Optional(Type.Record(Type.String(), SecretText())),
    choice: Type.Optional(
      Type.Union([
        Type.Object({ type: Type.Literal('a'), key: SecretText() }, { additionalProperties: false }),
        Type.Object({ type: Type.Literal('b'), wait: Duration() }, { additionalProperties: false })
      ])
    )
  },
  { additionalProperties: false }
)
const read = reader(Thing)

function problems(input: unknown, root?: string): string[] {
  const reading = read(input, root)
  return reading.ok
    ? []
    : reading.problems.map(({ field, message, suggestion }) => `${field} ${message}: ${suggestion}`)
}

for (const [text, ms] of [
  ['500ms', 500],
  ['10s', 10_000],
  ['1.5s', 1_500],
  ['2m', 120_000],
  ['1h', 3_600_000],
  ['7d', 604_800_000],
  ['0s', 0],
  ['', undefined],
  ['10', undefined],
  ['s', undefined],
  ['-1s', undefined],
  ['1 s', undefined],
  ['1e3s', undefined],
  ['1.s', undefined],
  ['1h30m', undefined],
  ['10S', undefined],
  ['10s\n', undefined]
] as const) {
  t.test(`${JSON.stringify(text)} as a duration is ${ms}`, async t => t.equal(durationMs(text), ms))
}

t.test('defaults are filled in, durations become milliseconds, sizes bytes, and secrets secret', async t => {
  const reading = read({ name: 'x', room: '10MiB', token: 'hunter2', list: [{ each: '1s' }], hidden: { a: 'hunter2' } })
  if (!reading.ok) return t.fail()
  const { token, hidden, ...rest } = reading.value
  t.strictSame(rest, { name: 'x', wait: 10_000, room: 10_485_760, list: [{ each: 1_000 }] })
  t.ok(token instanceof Secret && hidden?.a instanceof Secret)
  t.notMatch(inspect(reading, { depth: 9 }) + JSON.stringify(reading), 'hunter2')
})

t.test('either-or fields are read by the branch that fits', async t => {
  t.match(read({ name: 'x', choice: { type: 'a', key: 'k' } }), { ok: true, value: { choice: { key: Secret } } })
  t.match(read({ name: 'x', choice: { type: 'b', wait: '2s' } }), { ok: true, value: { choice: { wait: 2_000 } } })
})

for (const [size, bytes] of [
  ['7B', 7],
  ['1KiB', 1024],
  ['1KB', 1000],
  ['2MiB', 2_097_152],
  ['2MB', 2_000_000],
  ['1GiB', 1_073_741_824]
] as const) {
  t.test(`${size} is read as ${bytes} bytes`, async t =>
    t.match(read({ name: 'x', room: size }), { value: { room: bytes } })
  )
}

t.test('the input stays as it was', async t => {
  const input = Object.freeze({ name: 'x', list: Object.freeze([Object.freeze({ each: '1s' })]) })
  t.equal(read(input).ok, true)
  t.strictSame(input, { name: 'x', list: [{ each: '1s' }] })
})

t.test('every problem is told at once, each with where, what and what to do', async t => {
  const input = {
    wait: 'soon',
    room: '10',
    mode: 'medium',
    texts: { a: 5 },
    list: [{ each: '1s' }, {}],
    surprise: 1,
    'odd/name~': 1
  }
  t.strictSame(problems(input, 'body').sort(), [
    'body.list[1].each is required: add each',
    'body.mode is not one of the allowed values: use one of: fast, slow',
    'body.name is required: add name',
    'body.odd/name~ is not a known field: check the spelling, or remove it',
    'body.room is not a size: write it as 512KiB or 10MiB',
    'body.surprise is not a known field: check the spelling, or remove it',
    'body.texts.a must be string: a map of names to texts',
    'body.wait is not a duration: write it as 500ms, 10s, 2m or 1h'
  ])
})

t.test('a hundred problems are told as well as one', async t => {
  const list = Array.from({ length: 100 }, () => ({ each: 'soon' }))
  t.equal(problems({ name: 'x', list }).length, 100)
})

t.test('of an either-or, only what is wrong with the branch that was meant is told', async t => {
  t.strictSame(problems({ name: 'x', choice: { type: 'a' } }), ['choice.key is required: add key'])
  t.strictSame(problems({ name: 'x', choice: { type: 'b', wait: '1s', key: 'k' } }), [
    'choice.key is not a known field: check the spelling, or remove it'
  ])
})

for (const choice of [{ type: 'c' }, { key: 'k' }, {}, { type: null }]) {
  t.test(`an either-or of no known type says which there are: ${JSON.stringify(choice)}`, async t => {
    t.strictSame(problems({ name: 'x', choice }), ['choice.type is not one of the allowed values: use one of: a, b'])
  })
}

t.test('names that a record does not take are told', async t => {
  const named = reader(
    Type.Record(Type.String(), Type.String(), { propertyNames: { pattern: '^[a-z]+$' }, description: 'lower case' })
  )
  t.strictSame(named({ 'A B': 'x' }, 'headers'), {
    ok: false,
    problems: [{ field: 'headers.A B', message: 'is not a name that is allowed here', suggestion: 'lower case' }]
  })
})

t.test('a name that holds a value, for a blank was forgotten in YAML, is told without it', async t => {
  const strict = reader(Type.Object({ token: Type.String() }, { additionalProperties: false }))
  const reading = strict({ 'token:xoxb-1': null }, 'targets[1]')
  t.match(reading, { ok: false })
  t.strictSame(!reading.ok && reading.problems.map(({ field }) => field), ['targets[1].token', 'targets[1].token…'])
  const headers = reader(Type.Record(Type.String(), Type.String()))({ 'Authorization:Bearer xoxb-1': null }, 'headers')
  t.match(headers, { ok: false, problems: [{ field: 'headers.Authorization…' }] })
})

t.test('what is no object at all is one problem', async t => {
  for (const input of [null, 'text', 5, []]) t.equal(problems(input, 'thing').length, 1)
})

t.test('names that every object inherits are ordinary names', async t => {
  const texts = JSON.parse('{"__proto__": "a", "constructor": "b", "toString": "c"}')
  const reading = read({ name: 'x', texts })
  t.ok(reading.ok)
  if (reading.ok) t.strictSame(Object.entries(reading.value.texts ?? {}), Object.entries(texts))
  t.strictSame(problems({ name: 'x', ...JSON.parse('{"toString": 1}') }), [
    'toString is not a known field: check the spelling, or remove it'
  ])
})

t.test('a schema without defaults or conversions reads the same way', async t => {
  const Plain = Type.Object({ a: Type.Number(), b: Type.Optional(Type.String()) })
  const cases: [TSchema, unknown][] = [
    [Plain, { a: 1, b: 'x', more: [1] }],
    [Plain, { a: '1' }]
  ]
  for (const [schema, input] of cases) {
    const withDefault = Type.Object({ ...(schema as typeof Plain).properties, d: Type.Integer({ default: 1 }) })
    const [plain, full] = [reader(schema)(input), reader(withDefault)(input)]
    t.strictSame(full, plain.ok ? { ok: true, value: { ...(plain.value as object), d: 1 } } : plain)
  }
})

t.test('whatever the input, it is read or refused in words, and never repeated', async t => {
  const mark = 'TOPSECRET'
  const value = fc.anything({ values: [fc.constant(mark), fc.constant(`${mark}s`), fc.integer(), fc.constant(null)] })
  const keys = [...Object.keys(Thing.properties), '__proto__', 'constructor']
  const input = fc.oneof(value, fc.dictionary(fc.constantFrom(...keys), value))
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(input, input => {
        const reading = read(input)
        if (reading.ok) return true
        const told = reading.problems.flatMap(({ message, suggestion }) => [message, suggestion])
        return told.length > 0 && told.every(text => text !== '' && !text.includes(mark))
      })
    )
  )
})

t.test('more unknown fields than errors are counted are told of nonetheless', async t => {
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`extra${index}`, 1]))
  t.equal(problems({ name: 'x', ...many })[0], 'extra0 is not a known field: check the spelling, or remove it')
})
