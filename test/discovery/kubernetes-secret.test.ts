import t from 'tap'
import { isSecret, secretEntry } from '../../src/discovery/kubernetes-secret.js'
import { Secret } from '../../src/secret.js'

const metadata = {
  name: 'ops-hook',
  namespace: 'ops',
  uid: 'u',
  resourceVersion: '1',
  creationTimestamp: '2026-01-01T00:00:00Z'
}

const entryOf = (values: Record<string, string | Buffer>) =>
  secretEntry({
    metadata,
    data: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString('base64')]))
  })

function revealed(values: Record<string, string | Buffer>) {
  const { reading } = entryOf(values)
  if (!reading.ok) throw new Error(JSON.stringify(reading.problems))
  return opened(reading.value.settings) as Record<string, unknown>
}

/** Secrets are opened, so that a test sees them. */
function opened(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal()
  if (Array.isArray(value)) return value.map(opened)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, opened(item)]))
}

function problemsOf(values: Record<string, string | Buffer>) {
  const { reading } = entryOf(values)
  return reading.ok ? [] : reading.problems.map(({ field, message }) => `${field} ${message}`)
}

const base = {
  name: 'ops-hook',
  type: 'webhook',
  url: 'http://h/',
  enabled: true,
  send_resolved: true,
  format: 'webhook',
  batch: 'notification'
}

for (const [language, config] of [
  ['YAML', 'type: webhook\nurl: http://h/\nfilter:\n  severities: [critical]\n'],
  ['JSON', '{"type":"webhook","url":"http://h/","filter":{"severities":["critical"]}}']
] as const) {
  t.test(`one key config holds a whole target as ${language}`, async t => {
    t.strictSame(revealed({ config }), { ...base, filter: { severities: ['critical'] } })
  })
}

t.test('its own name goes before the name of the Secret', async t => {
  t.equal(revealed({ config: 'name: other\ntype: webhook\nurl: http://h/' }).name, 'other')
  t.equal(revealed({ name: 'other', type: 'webhook', url: 'http://h/' }).name, 'other')
})

t.test('flat keys give text, switches, numbers and nested settings, written with - or _', async t => {
  const settings = revealed({
    type: 'webhook',
    url: 'http://h/',
    enabled: 'false',
    'send-resolved': 'false\n',
    max_concurrent: '3',
    timeout: '5s',
    headers: 'X-Team: ops',
    auth: '{"type":"bearer","token":"1234"}',
    filter: 'matchers:\n- env!="dev"\n'
  })
  t.strictSame(settings, {
    ...base,
    enabled: false,
    send_resolved: false,
    max_concurrent: 3,
    timeout: 5000,
    headers: { 'X-Team': 'ops' },
    auth: { type: 'bearer', token: '1234' },
    filter: { matchers: ['env!="dev"'] }
  })
})

t.test('text that looks like a number stays text', async t => {
  t.equal(
    revealed({ type: 'pagerduty', routing_key: '12345678901234567890123456789012' }).routing_key,
    '12345678901234567890123456789012'
  )
  t.equal(
    revealed({ type: 'pagerduty', 'routing-key': '0x345678901234567890123456789012' }).routing_key,
    '0x345678901234567890123456789012'
  )
})

t.test('the line break that a file ends in is not part of a value', async t => {
  t.equal(revealed({ type: 'webhook\n', url: 'http://h/\r\n' }).url, 'http://h/')
})

const refused: [what: string, values: Record<string, string | Buffer>, problems: string[]][] = [
  ['nothing', {}, ['type is not a known target type']],
  ['no type', { url: 'http://topsecret/' }, ['type is not a known target type']],
  ['an unknown type', { type: 'topsecret' }, ['type is not a known target type']],
  [
    'an unknown key',
    { type: 'webhook', url: 'http://h/', 'rate-limits': 'topsecret' },
    ['rate_limits is not a known field']
  ],
  [
    'one key twice',
    { type: 'webhook', url: 'http://h/', 'send-resolved': 'true', send_resolved: 'topsecret' },
    ['send_resolved is there twice, with - and with _']
  ],
  ['bytes that are no text', { type: 'webhook', url: Buffer.of(0xff, 0xfe) }, ['url is not UTF-8 text']],
  [
    'a switch that is neither',
    { type: 'webhook', url: 'http://h/', enabled: 'topsecret' },
    ['enabled must be boolean']
  ],
  [
    'a number that is none',
    { type: 'webhook', url: 'http://h/', 'max-concurrent': 'topsecret' },
    ['max_concurrent must be integer']
  ],
  [
    'broken nested YAML',
    { type: 'webhook', url: 'http://h/', filter: '{topsecret: [' },
    ['filter is not valid YAML or JSON (line 1, column 14): bad indent']
  ],
  ['a broken config', { config: 'topsecret: [' }, ['config is not valid YAML or JSON (line 1, column 13): bad indent']],
  ['a config that is no object', { config: 'topsecret' }, ['target is not an object']],
  [
    'a key beside config',
    { config: 'type: webhook\nurl: http://h/', token: 'topsecret' },
    ['token stands beside config']
  ]
]
for (const [what, values, problems] of refused) {
  t.test(`${what} is refused without showing it`, async t => {
    t.strictSame(problemsOf(values), problems)
    t.notMatch(JSON.stringify(entryOf(values)), 'topsecret')
  })
}

t.test('an entry says where it stands and what it was meant to be called', async t => {
  t.match(entryOf({ type: 'x' }), { key: 'ops/ops-hook', source: 'Secret ops/ops-hook', name: 'ops-hook' })
  t.match(entryOf({ type: 'x', name: 'other' }), { name: 'other' })
  t.match(entryOf({ type: 'x', name: 'Not a name' }), { name: undefined })
})

t.test('a Secret is told from what is none', async t => {
  t.ok(isSecret({ metadata }))
  t.ok(isSecret({ metadata, data: null }))
  for (const other of [
    null,
    undefined,
    'text',
    {},
    { metadata: { ...metadata, uid: 1 } },
    { metadata, data: { a: 1 } }
  ]) {
    t.notOk(isSecret(other))
  }
})
