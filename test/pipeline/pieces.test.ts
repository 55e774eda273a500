import fc from 'fast-check'
import t from 'tap'
import { parseInTurns, TooManyValues } from '../../src/pipeline/pieces.js'

/** What a parser makes of a text, or that it refuses it. */
const parsed = (text: string): unknown => {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return 'refused'
  }
}
const inTurns = async (text: string): Promise<unknown> => {
  try {
    return { value: await parseInTurns(Buffer.from(text)) }
  } catch (error) {
    return error instanceof SyntaxError ? 'refused' : error
  }
}

/** Longer than what is parsed at once. */
const long = 'x'.repeat(300_000)
const alert = { status: 'firing', labels: { alertname: 'A "quoted" \\', team: '[{,}]' }, n: [1, { a: [] }] }
const texts = {
  'no list': '{"alert":{"a":1}}',
  'an empty list': '{"alerts":[ ],"version":"4"}',
  'one alert': JSON.stringify({ version: '4', alerts: [alert], groupKey: 'k' }),
  'many alerts': JSON.stringify({ version: '4', alerts: Array(2_000).fill(alert), groupKey: 'k' }),
  'alerts that are no objects': '{"alerts":[1,"two",null,[3],{}]}',
  'white space': ` {\n "alerts" :\t[ ${JSON.stringify(alert)} ,\n {} ] , "a" : 1 } `,
  'a list within an alert': '{"alerts":[{"alerts":[1,2]},{"alerts":[[3]]}]}',
  'a list of that name further down': '{"a":{"alerts":[1,2]},"alerts":[3]}',
  'a text of that name': '{"a":"alerts","b":[1,2],"alerts":[3]}',
  'the list twice': `{"alerts":[1,"${long}",2],"alerts":[3]}`,
  'the list, then none': '{"alerts":[1],"alerts":2}',
  'none, then the list': '{"alerts":2,"alerts":[1]}',
  'a name in other letters': '{"\\u0061lerts":[1,2]}',
  'a list at the top': '[{"alerts":[1]}]',
  'long alerts': `{"alerts":["${long}","${long}","${long}"]}`,
  'a comma after the last alert': '{"alerts":[1,]}',
  'a comma after the last long alert': `{"alerts":["${long}",]}`,
  'a comma before the first alert': '{"alerts":[,1]}',
  'two commas': '{"alerts":[1,,2]}',
  'two commas behind a long alert': `{"alerts":["${long}",,2]}`,
  'a comma behind nothing but blanks': `{"alerts":[${' '.repeat(300_000)},1]}`,
  'the list, then another in other letters': `{"alerts":[1,"${long}",2],"\\u0061lerts":[3]}`,
  'a list in other letters, then the list': `{"\\u0061lerts":[3],"alerts":[1,"${long}",2]}`,
  'brackets that cross': '{"alerts":[{],[}]}',
  'a list that ends with the wrong bracket': '{"alerts":[1}}',
  'a body that ends with the wrong bracket': '{"alerts":[1]]',
  'a list that does not end': '{"alerts":[1,2',
  'a text that does not end': '{"alerts":["1,2]}',
  'something behind the body': '{"alerts":[1]}{}',
  'too many closing brackets': '{"alerts":[1]}}',
  'many commas in a text': JSON.stringify({ alerts: [','.repeat(50_000)] }),
  'nothing between the brackets of two': '{"alerts":[1][2]}',
  'a word': 'null',
  nothing: ' '
}
for (const [what, text] of Object.entries(texts))
  t.test(`${what}: as JSON.parse reads it`, async t => t.strictSame(await inTurns(text), parsed(text)))

t.test('whatever is written or misspelt: as JSON.parse reads it', async t => {
  const marks = ['{', '}', '[', ']', ',', ':', '"', '\\', '"alerts":', '[', '{"a":1}', ' ', '1']
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.jsonValue(), { maxLength: 5 }),
      fc.jsonValue(),
      fc.array(fc.tuple(fc.nat(), fc.nat(3), fc.constantFrom('', ...marks)), { maxLength: 3 }),
      async (alerts, rest, changes) => {
        let text = JSON.stringify({ rest, alerts: [...alerts, long, ...alerts], more: rest })
        for (const [place, length, mark] of changes) {
          // Near the start or the end, or most of it would be within the long alert.
          const at = place % 2 === 0 ? place % 200 : Math.max(0, text.length - (place % 200))
          text = text.slice(0, at) + mark + text.slice(at + length)
        }
        t.strictSame(await inTurns(text), parsed(text))
      }
    ),
    { numRuns: 300 }
  )
})

const names = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`n${index}`, '']))
for (const [what, body, field] of [
  ['an alert', { alerts: [alert, { labels: names(25_000) }] }, 'alerts[1]'],
  ['an alert behind long ones', { alerts: [long, long, 'short', { a: Array(25_000).fill(1) }] }, 'alerts[3]'],
  ['a single alert', { alert: { enrichment: names(25_000) } }, 'body'],
  ['the body', { ...names(25_000), alerts: [alert] }, 'body']
] as const) {
  t.test(`too many values in ${what} are refused, with their place`, async t => {
    const refused = (await inTurns(JSON.stringify(body))) as TooManyValues
    t.ok(refused instanceof TooManyValues)
    t.match(refused.problem, { field, message: 'has more than 20000 values' })
  })
}

t.test('many alerts may have many values together', async t => {
  const body = { alerts: Array.from({ length: 20 }, () => ({ labels: names(15_000) })) }
  t.strictSame(await inTurns(JSON.stringify(body)), { value: body })
})
