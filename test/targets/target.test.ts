import { inspect } from 'node:util'
import t from 'tap'
import { kinds } from '../../src/targets/registry.js'
import { readTarget, type Target } from '../../src/targets/target.js'

const hook = { name: 'ops', type: 'webhook', url: 'https://hooks.test/topsecret' }

function target(raw: unknown, fallbackName?: string): Target {
  const reading = readTarget(raw, fallbackName)
  if (!reading.ok) throw new Error(JSON.stringify(reading.problems))
  return reading.value
}

function problems(raw: unknown, root?: string): string[] {
  const reading = readTarget(raw, undefined, root)
  return reading.ok ? [] : reading.problems.map(({ field, message }) => `${field} ${message}`)
}

t.test('a target is read with its defaults', async t => {
  const { name, type, kind, settings } = target(hook)
  t.strictSame(
    [name, type, kind, settings.enabled, settings.send_resolved],
    ['ops', 'webhook', kinds.webhook, true, true]
  )
})

t.test('an explicit false stays false', async t => {
  t.equal(target({ ...hook, enabled: false }).settings.enabled, false)
})

t.test('a target without a name takes the one of its file or Secret', async t => {
  const { name: _, ...nameless } = hook
  t.equal(target(nameless, 'from-file').name, 'from-file')
  t.equal(target(hook, 'from-file').name, 'ops')
  t.strictSame(problems(nameless), ['name is required'])
})

t.test('the version changes with any setting, and only then', async t => {
  const { version } = target(hook)
  t.equal(target({ ...hook }).version, version)
  t.not(target({ ...hook, url: 'https://hooks.test/other' }).version, version)
  t.not(target({ ...hook, enabled: false }).version, version)
  t.match(version, /^[0-9a-f]{16}$/)
})

t.test('its filter decides which alerts it takes', async t => {
  const { accepts } = target({ ...hook, filter: { matchers: ['team="ops"'] } })
  const alert = { alert_name: 'A', fingerprint: '0', status: 'firing', annotations: {}, starts_at: '' } as const
  t.equal(accepts({ ...alert, labels: { team: 'ops' } }), true)
  t.equal(accepts({ ...alert, labels: { team: 'dev' } }), false)
})

t.test('what it must not show is known, and not shown', async t => {
  const read = target({
    ...hook,
    auth: { type: 'bearer', token: 'topsecret-token' },
    headers: { 'X-Key': 'topsecret-key' }
  })
  t.strictSame([...read.secrets].sort(), ['https://hooks.test/topsecret', 'topsecret-key', 'topsecret-token'])
  t.notMatch(JSON.stringify(read.settings) + inspect(read.settings, { depth: 9 }) + read.version, 'topsecret')
})

t.test('every problem is told at once, where it stands, and without the value', async t => {
  const raw = {
    ...hook,
    name: 'Top Secret',
    timeout: 'topsecret',
    headers: { 'a b': 'topsecret' },
    surprise: 'topsecret'
  }
  const found = problems(raw, 'targets[3]')
  t.strictSame(found.map(problem => /^\S+( b)?/.exec(problem)?.[0]).sort(), [
    'targets[3].headers.a b',
    'targets[3].name',
    'targets[3].surprise',
    'targets[3].timeout'
  ])
  t.notMatch(JSON.stringify(readTarget(raw)), /topsecret|Top Secret/)
})

t.test('a filter that cannot be read makes the target invalid', async t => {
  t.strictSame(problems({ ...hook, filter: { matchers: ['a="b'] } }), ['filter.matchers[0] is not a matcher'])
  t.strictSame(problems({ ...hook, filter: { matchers: ['a="b'] } }, 'targets[1]'), [
    'targets[1].filter.matchers[0] is not a matcher'
  ])
})

for (const [what, raw, expected] of [
  ['null', null, 'target is not an object'],
  ['a list', [], 'target is not an object'],
  ['text', 'topsecret', 'target is not an object'],
  ['no type', { name: 'a' }, 'type is not a known target type'],
  ['a type that every object inherits', { name: 'a', type: 'constructor' }, 'type is not a known target type'],
  ['a type that is no text', { name: 'a', type: ['webhook'] }, 'type is not a known target type']
] as const) {
  t.test(`${what} is refused`, async t => t.strictSame(problems(raw), [expected]))
}

for (const [what, settings, expected] of [
  [
    'a header of the connection',
    { headers: { Connection: 'close' } },
    'headers.Connection is a header of the connection itself'
  ],
  [
    'the length of a body',
    { headers: { 'content-length': '5' } },
    'headers.content-length is a header of the connection itself'
  ],
  [
    'one header in two spellings',
    { headers: { 'X-A': 'topsecret', 'X-B': 'b', 'x-a': 'topsecret' } },
    'headers.x-a is given twice, in two spellings'
  ],
  ['the name of a route', { name: 'health' }, 'name is the name of a route'],
  ['a header with a newline', { headers: { 'X-A': 'topsecret\n' } }, 'headers.X-A cannot stand in a header'],
  ['a header beyond Latin-1', { headers: { 'X-A': '🙂' } }, 'headers.X-A cannot stand in a header'],
  ['a token with a newline', { auth: { type: 'bearer', token: 'topsecret\n' } }, 'auth.token cannot stand in a header'],
  [
    'an API key in the Host header',
    { auth: { type: 'api_key', header: 'Host', value: 'x' } },
    'auth.header is a header of the connection itself'
  ],
  ['a signing secret of nothing', { auth: { type: 'hmac', secret: 'whsec_' } }, 'auth.secret is no signing secret'],
  [
    'a signing secret that is no base64',
    { auth: { type: 'hmac', secret: 'whsec_topsecret-topsecret' } },
    'auth.secret is no signing secret'
  ],
  [
    'a signing secret with a newline',
    { auth: { type: 'hmac', secret: 'whsec_ZXhhbXBsZS1zaWduaW5nLXNlY3JldA==\n' } },
    'auth.secret is no signing secret'
  ],
  [
    'a signing secret of seven bytes',
    { auth: { type: 'hmac', secret: 'whsec_c2V2ZW4hIQ==' } },
    'auth.secret is no signing secret'
  ],
  [
    'a previous signing secret that is cut off',
    { auth: { type: 'hmac', secret: 'plain text', previous_secret: 'whsec_ZXhhbXBsZ' } },
    'auth.previous_secret is no signing secret'
  ],
  ['a timeout of nothing', { timeout: '0s' }, 'timeout must be more than 0 and at most 24d'],
  ['a timeout that no timer can keep', { timeout: '30d' }, 'timeout must be more than 0 and at most 24d'],
  [
    'a rate per no time',
    { rate_limit: { requests: 1, per: '0s', burst: 1 } },
    'rate_limit.per must be more than 0 and at most 24d'
  ]
] as const) {
  t.test(`${what} is refused`, async t => t.strictSame(problems({ ...hook, ...settings }), [expected]))
}

for (const secret of ['whsec_ZWlnaHQhISE=', 'whsec_ZWlnaHQhISE', 'plain', 'WHSEC_x']) {
  t.test(`the signing secret ${secret} is taken`, async t =>
    t.strictSame(problems({ ...hook, auth: { type: 'hmac', secret } }), [])
  )
}

t.test('a bot token with a newline is refused', async t => {
  const slack = { name: 'a', type: 'slack', token: 'xoxb-1\n', channel: 'ops' }
  t.strictSame(problems(slack), ['token cannot stand in a header'])
})
