import t from 'tap'
import type { Notification } from '../../src/alert.js'
import type { ErrorReason, ErrorType, Message, TargetKind, Verdict, WireAnswer } from '../../src/targets/contract.js'
import { judgeByStatus } from '../../src/targets/failures.js'
import { kinds } from '../../src/targets/registry.js'
import { readTarget, type Target } from '../../src/targets/target.js'
import { alertOf, messageOf, notificationOf, notificationWith } from '../support/messages.js'

// What every kind of target owes. It runs on the examples in each kind's schema: a new kind needs no line here.

const hostile = [
  '<!channel> <@U1> <https://evil.example.com|click> & &amp;',
  ']]></script><img src=x onerror=alert(1)>',
  '"quotes" \'and\' `ticks` \\backslashes\\ {{.Template}} $(x) %s %zz',
  'line\nline\r\nline\ttab\u0000nul\u001b[31m',
  'lone \ud800 and \udc00 surrogates',
  '\u202eright to left\u202c مرحبا שלום',
  `${'x'.repeat(149)}😀`,
  '😀'.repeat(5_000),
  '👩‍👩‍👧‍👦'.repeat(400),
  ' ',
  ''
].map((text, index) =>
  alertOf({
    alert_name: text,
    fingerprint: `${index}`.padStart(16, '0'),
    labels: own({ alertname: text, severity: text, namespace: text, constructor: text, [text]: text }),
    annotations: own({ summary: text, description: text, runbook_url: text, dashboard_url: text }),
    generator_url: text
  })
)

const mebibyte = 'All work and no play makes 😀 a dull boy. '.repeat(26_000)

const notifications: Record<string, () => Notification> = {
  'one that fires': () => notificationOf('firing-1'),
  'three that fire': () => notificationOf('firing-3'),
  'all resolved': () => notificationOf('resolved-2'),
  'some resolved': () => notificationOf('mixed-1-resolved-of-3'),
  'no annotations': () => notificationOf('watchdog-empty-annotations'),
  'a storm of 120': () => notificationOf('storm-120'),
  'an annotation of 1 MiB': () =>
    notificationWith([alertOf({ annotations: { summary: 'long', description: mebibyte } })]),
  'labels of 1 MiB': () =>
    notificationWith([alertOf({ labels: { alertname: 'Long', severity: 'critical', blob: mebibyte } })]),
  'a name of 1 MiB': () => notificationWith([alertOf({ alert_name: mebibyte, labels: { alertname: mebibyte } })]),
  '5,000 labels and annotations': () => {
    const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`key_${index}`, `value ${index}`]))
    return notificationWith([alertOf({ labels: many, annotations: many })])
  },
  'hostile texts': () => ({
    ...notificationWith(structuredClone(hostile)),
    group_key: '\ud800"\n',
    receiver: '<!here>\udc00'
  }),
  'a classified alert': () =>
    notificationWith([
      alertOf({
        classification: {
          severity: 'warning',
          confidence: 0.93,
          reasoning: 'Seen before.',
          recommendations: ['Wait.']
        },
        enrichment: { owner: { team: 'ops' } }
      })
    ]),
  'nothing but what is required': () =>
    notificationWith([
      { alert_name: 'Bare', fingerprint: '1', status: 'resolved', labels: {}, annotations: {}, starts_at: 'soon' }
    ])
}

const situations: Record<string, Partial<Message>> = {
  '': {},
  ', late': { lateByMs: 720_000 },
  ', fired and resolved': { firedAndResolved: true },
  ', perhaps sent before': { mayHave: true }
}

for (const [name, kind] of Object.entries(kinds)) {
  const examples = (kind.schema as unknown as { examples?: Record<string, unknown>[] }).examples ?? []

  t.test(`${name} says of itself what every kind does`, async t => {
    t.equal(kind.type, name)
    t.match(kind.title, /^\S.*\S$/)
    t.ok(kind.defaults.maxConcurrent > 0)
    t.ok(examples.length > 0, 'the schema has examples')
    t.same(new Set(examples.map(example => example.type)), new Set([name]))
  })

  for (const example of examples) {
    const title = `${name} (${example.name})`

    t.test(`${title} is read, and refused with a field or a URL that is wrong`, async t => {
      open(example)
      t.same(problemsOf({ ...example, colour: 'red' }), ['colour'])
      if (example.url === undefined) return
      for (const url of ['ftp://example.com/x', 'no url', 'https://user:pa55word@example.com/']) {
        const reading = readTarget({ ...example, url })
        t.same(problemsOf({ ...example, url }), ['url'], url)
        t.notMatch(JSON.stringify(reading), /pa55word|ftp:/)
      }
    })

    for (const [what, notification] of Object.entries(notifications)) {
      t.test(`${title} writes ${what}: valid, within limits, the same each time`, async t => {
        for (const [when, overrides] of Object.entries(what.includes('1 MiB') ? { '': {} } : situations)) {
          const { bodies, cut, faults } = write(kind, open(example), { notification: notification(), ...overrides })
          t.same(faults, [], `no fault${when}`)
          t.same(
            write(kind, open(example), { notification: notification(), ...overrides }).bodies,
            bodies,
            `twice${when}`
          )
          t.ok(cut.size > 0 || !bodies.some(body => body.includes('…')), `what was cut is counted${when}`)
        }
        t.equal(({} as { namespace?: string }).namespace, undefined, 'no prototype was touched')
      })
    }

    t.test(`${title} turns each status into its outcome, and shows no secret`, async t => {
      const target = open(example)
      const message = messageOf({ ...partsOf(target, notificationOf('firing-1'))[0]! })
      const [request] = target.wire.requests(message)
      const secrets = [...target.secrets, request!.origin]
      const told = [...secrets, 'and more that the target said'].join(' ')
      const judge = (statusCode: number, body = told, headers: WireAnswer['headers'] = {}): Verdict => {
        const answer = { statusCode, headers, body }
        return target.wire.answer?.(answer, message, request!) ?? judgeByStatus(answer, kind.title, message.now)
      }
      const outcomes = statuses.map(([statusCode]) => {
        const verdict = judge(statusCode)
        return verdict.kind === 'failed'
          ? [verdict.statusCode, verdict.type, verdict.reason]
          : [statusCode, verdict.kind]
      })
      t.same(outcomes, statuses)
      for (const [statusCode] of statuses) {
        const verdict = judge(statusCode)
        const said = verdict.kind === 'failed' ? verdict.message : ''
        t.ok(said.startsWith(`${kind.title} `) && said.length < 200, said)
        t.notOk(
          [...secrets, 'more that'].some(secret => said.includes(secret)),
          `no secret in the message of a ${statusCode}`
        )
      }
      for (const statusCode of [429, 503]) {
        t.match(
          judge(statusCode, told, { 'retry-after': '7' }),
          { kind: 'failed', retryAfterMs: 7_000 },
          `Retry-After of a ${statusCode}`
        )
      }
      for (const statusCode of [200, 201, 202, 204]) {
        const verdict = judge(statusCode, '')
        t.ok(
          verdict.kind === 'delivered' || (verdict.kind === 'failed' && verdict.reason === 'rejected'),
          `${statusCode}`
        )
      }
      if (target.wire.statusTells) {
        for (const { body } of kind.answers ?? []) t.equal(judge(200, body).kind, 'delivered', `unread: ${body}`)
      }
      for (const { statusCode, body, means } of kind.answers ?? []) {
        const verdict = judge(statusCode, body)
        t.equal(verdict.kind === 'failed' ? verdict.reason : verdict.kind, means, `${statusCode} ${body}`)
      }
    })
  }
}

const statuses: [number, ErrorType, ErrorReason][] = [
  [301, 'permanent', 'client_error'],
  [302, 'permanent', 'client_error'],
  [304, 'permanent', 'client_error'],
  [307, 'permanent', 'client_error'],
  [400, 'permanent', 'client_error'],
  [401, 'configuration', 'auth'],
  [402, 'permanent', 'client_error'],
  [403, 'configuration', 'auth'],
  [404, 'configuration', 'not_found'],
  [405, 'permanent', 'client_error'],
  [406, 'permanent', 'client_error'],
  [408, 'transient', 'timeout'],
  [410, 'configuration', 'not_found'],
  [413, 'permanent', 'payload_too_large'],
  [415, 'permanent', 'client_error'],
  [418, 'permanent', 'client_error'],
  [422, 'permanent', 'client_error'],
  [425, 'transient', 'server_error'],
  [429, 'rate_limited', 'rate_limited'],
  [500, 'transient', 'server_error'],
  [502, 'transient', 'server_error'],
  [503, 'transient', 'server_error'],
  [504, 'transient', 'server_error'],
  [520, 'transient', 'server_error'],
  [599, 'transient', 'server_error']
]

/** A target of the example settings. */
function open(example: unknown): Target {
  const reading = readTarget(example)
  if (!reading.ok) throw new Error(JSON.stringify(reading.problems))
  return reading.value
}

function problemsOf(settings: unknown): string[] {
  const reading = readTarget(settings)
  return reading.ok ? [] : reading.problems.map(problem => problem.field)
}

function partsOf(target: Target, notification: Notification) {
  const parts = target.wire.parts?.(notification.alerts, notification) ?? [{ key: '', alerts: notification.alerts }]
  return parts.map(({ key, alerts }) => ({ notification, alerts, part: key }))
}

/** Writes all requests of a notification and finds what no request may have. */
function write(kind: TargetKind, target: Target, overrides: Partial<Message> & { notification: Notification }) {
  const cut = new Set<string>()
  const parts = partsOf(target, overrides.notification)
  const carried = new Set(parts.flatMap(part => part.alerts))
  const faults: string[] = []
  if (overrides.notification.alerts.some(alert => !carried.has(alert))) faults.push('an alert is in no part')
  if (new Set(parts.map(({ part }) => part)).size < parts.length) faults.push('two parts have one key')
  const requests = parts.flatMap(part =>
    target.wire.requests(messageOf({ ...overrides, ...part, truncated: field => cut.add(field) }))
  )
  const bodies = requests.map(request => {
    const { method, origin, path, headers } = request
    if (!/^https?:\/\/[^/]+$/.test(origin)) faults.push(`origin ${origin}`)
    if (!target.wire.origins.includes(origin)) faults.push(`${origin} is none of its origins`)
    if (!/^\/[!-~]*$/.test(path)) faults.push(`path ${path}`)
    if (method === 'GET' && request.body === undefined) return ''
    const body = Buffer.from(request.body ?? '')
    if (!/json/.test(headers['content-type'] ?? '')) faults.push('the content type is not JSON')
    if (kind.limits && body.length > kind.limits.bodyBytes) faults.push(`${body.length} bytes are over the limit`)
    if (request.body !== undefined && !isWellFormed(JSON.parse(utf8.decode(body)))) faults.push('a lone surrogate')
    return body.toString()
  })
  return { bodies, cut, faults }
}

const utf8 = new TextDecoder('utf8', { fatal: true })

function isWellFormed(value: unknown): boolean {
  if (typeof value === 'string') return (value as unknown as { isWellFormed(): boolean }).isWellFormed()
  if (value === null || typeof value !== 'object') return true
  return Object.entries(value).every(([name, item]) => isWellFormed(name) && isWellFormed(item))
}

/** With `__proto__` as a key of its own, as `JSON.parse` makes it. */
function own(record: Record<string, string>): Record<string, string> {
  return Object.defineProperty(record, '__proto__', {
    value: 'hostile',
    enumerable: true,
    configurable: true,
    writable: true
  })
}
