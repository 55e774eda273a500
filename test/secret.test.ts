import { format, inspect } from 'node:util'
import t from 'tap'
import { redact, Secret, secretsIn } from '../src/secret.js'

const secret = new Secret('hunter2')

t.test('a secret gives its value only when asked for it', async t => {
  t.equal(secret.reveal(), 'hunter2')
})

t.test('however it is printed, it reads [secret]', async t => {
  t.equal(String(secret), '[secret]')
  t.equal(`${secret}`, '[secret]')
  t.equal([secret, secret].join(), '[secret],[secret]')
  t.equal(JSON.stringify({ secret }), '{"secret":"[secret]"}')
  t.equal(inspect({ a: { b: [secret] } }), '{ a: { b: [ [secret] ] } }')
  t.equal(format('%s %o %j', secret, secret, secret), '[secret] [secret] "[secret]"')
})

t.test('no way around its methods shows it', async t => {
  const shown = [
    inspect(secret, { showHidden: true, customInspect: false, depth: 9 }),
    Object.entries(secret),
    structuredClone({ ...secret }),
    new Error('failed', { cause: secret })
  ]
  t.notMatch(inspect(shown, { depth: 9, showHidden: true }), 'hunter2')
})

t.test('the secrets of a configuration are found wherever they stand, longest first, each once', async t => {
  const settings = {
    url: new Secret('https://host/token'),
    headers: { a: new Secret('token'), b: new Secret('token') },
    list: [{ deep: new Secret('a longer one than all the others') }],
    none: null,
    empty: new Secret(''),
    open: 'not one'
  }
  t.strictSame(secretsIn(settings), ['a longer one than all the others', 'https://host/token', 'token'])
})

t.test('redacting covers a secret as it is, in a URL, and in JSON', async t => {
  const value = 'p"a s/s\n'
  const text = `${value} | ${encodeURIComponent(value)} | ${JSON.stringify({ value })}`
  t.equal(redact(text, [value]), '[secret] | [secret] | {"value":"[secret]"}')
})

t.test('a secret within another leaves no half of it', async t => {
  t.equal(redact('token-and-more token', ['token-and-more', 'token']), '[secret] [secret]')
})

t.test('a secret that no URL can carry is redacted all the same', async t => {
  t.equal(redact('a \ud800 b', ['\ud800']), 'a [secret] b')
})

t.test('text without secrets stays as it is', async t => {
  t.equal(redact('nothing here', ['hunter2']), 'nothing here')
  t.equal(redact('nothing here', []), 'nothing here')
})
