import Type, { type Static, type TProperties } from 'typebox'
import { Duration, dnsLabel, longestTimerMs, type Problem, SecretText } from '../schema.js'
import type { Secret } from '../secret.js'
import { keyOf } from './hmac.js'
import { tlsProblems } from './tls.js'

const Texts = (description: string) =>
  Type.Optional(Type.Array(Type.String({ minLength: 1 }), { minItems: 1, description }))

export const Filter = Type.Object(
  {
    severities: Texts('Passes these severities: the classification’s, else the label’s.'),
    namespaces: Texts('Passes these `namespace` labels, and alerts without one.'),
    match_labels: Type.Optional(
      Type.Record(Type.String(), Type.String(), { description: 'Labels that must be equal.' })
    ),
    matchers: Texts('Alertmanager matchers, all of which must hold: `severity=~"critical|warning"`.'),
    alert_name_pattern: Type.Optional(
      Type.String({ minLength: 1, description: 'RE2 pattern searched in the alert’s name.' })
    ),
    exclude_noise: Type.Optional(Type.Boolean({ description: 'Leaves out what is classified as noise.' })),
    min_confidence: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 1,
        description: 'Least confidence of a classified alert: a number from 0 to 1.'
      })
    )
  },
  { additionalProperties: false }
)
export type Filter = Static<typeof Filter>

const headerName = "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$"

const signingSecret = 'whsec_ and the base64 of at least 8 bytes; a secret without whsec_ is taken as raw bytes'

export const Auth = Type.Union([
  Type.Object({ type: Type.Literal('bearer'), token: SecretText() }, { additionalProperties: false }),
  Type.Object(
    { type: Type.Literal('basic'), username: Type.String(), password: SecretText() },
    { additionalProperties: false }
  ),
  Type.Object(
    {
      type: Type.Literal('api_key'),
      header: Type.String({ pattern: headerName, description: 'the name of a header' }),
      value: SecretText()
    },
    { additionalProperties: false }
  ),
  Type.Object(
    {
      type: Type.Literal('hmac'),
      secret: SecretText({ description: signingSecret }),
      previous_secret: Type.Optional(SecretText({ description: signingSecret }))
    },
    { additionalProperties: false }
  )
])
export type Auth = Static<typeof Auth>

const statusCode = Type.Integer({ minimum: 100, maximum: 599 })

/** What every target may say of itself, whatever its type. A kind adds its `type`, its `url` and its own fields. */
export const commonSettings = {
  name: Type.String({
    pattern: dnsLabel,
    description: 'a DNS-1123 label: lower case letters, digits and -'
  }),
  enabled: Type.Boolean({ default: true }),
  send_resolved: Type.Boolean({ default: true, description: 'Whether resolved alerts are sent as well.' }),
  headers: Type.Optional(
    Type.Record(Type.String(), SecretText({ maxLength: 4096 }), {
      maxProperties: 100,
      // Not as a pattern of the record with no others allowed: TypeBox's Value.Default throws on those.
      propertyNames: { pattern: headerName },
      description: 'Extra request headers; at most 100, of at most 4096 bytes each.'
    })
  ),
  auth: Type.Optional(Auth),
  filter: Type.Optional(Filter),
  timeout: Type.Optional(Duration({ description: 'Longest attempt. Default: ATTEMPT_TIMEOUT.' })),
  max_concurrent: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1000,
      description: 'Most attempts at once, at each of the addresses where it has several.'
    })
  ),
  rate_limit: Type.Optional(
    Type.Object(
      { requests: Type.Number({ exclusiveMinimum: 0 }), per: Duration(), burst: Type.Integer({ minimum: 1 }) },
      { additionalProperties: false, description: 'Token bucket of requests to the target.' }
    )
  ),
  tls: Type.Optional(
    Type.Object(
      {
        ca: Type.Optional(Type.String({ description: 'PEM.' })),
        cert: Type.Optional(Type.String({ description: 'PEM.' })),
        key: Type.Optional(SecretText({ description: 'PEM.' })),
        server_name: Type.Optional(Type.String({ minLength: 1 })),
        insecure_skip_verify: Type.Optional(Type.Boolean())
      },
      { additionalProperties: false }
    )
  ),
  health: Type.Optional(
    Type.Object(
      {
        method: Type.Enum(['GET', 'HEAD', 'POST'], { default: 'GET' }),
        path: Type.String({ pattern: '^/', description: 'a path that starts with /' }),
        expect: Type.Optional(Type.Array(statusCode, { minItems: 1, description: 'Default: any answer below 500.' }))
      },
      { additionalProperties: false, description: 'HTTP health check. Default: connect only.' }
    )
  )
} satisfies TProperties

const Common = Type.Object(commonSettings)

/** One target's settings as every part of the service but its own kind sees them. */
export type TargetSettings = Static<typeof Common> & { type: string }

/** What a connection says for itself: RFC 9110, 7.6.1, and what the client computes. */
const ownOfConnection = new Set(
  'connection content-length expect host http2-settings keep-alive proxy-connection te trailer transfer-encoding upgrade'.split(
    ' '
  )
)

/** Common rules that a schema cannot say: what no request or connection could carry, and times that would never end. */
export function commonProblems(settings: TargetSettings & { token?: Secret }, root: string): Problem[] {
  const { name, headers = {}, auth, token, timeout, rate_limit, tls } = settings
  const problems: Problem[] = []
  const at = (name: string) => (root === '' ? name : `${root}.${name}`)
  const checkName = (field: string, name: string) => {
    if (ownOfConnection.has(name.toLowerCase()))
      problems.push({ field: at(field), message: 'is a header of the connection itself', suggestion: 'remove it' })
  }
  const checkValue = (field: string, value: Secret | undefined) => {
    if (value && !/^[\t\x20-\x7e\x80-\xff]+$/.test(value.reveal())) {
      const suggestion = 'write one line of Latin text, without a newline at its end'
      problems.push({ field: at(field), message: 'cannot stand in a header', suggestion })
    }
  }
  const checkKey = (field: string, secret: Secret | undefined) => {
    if (secret && !keyOf(secret.reveal()))
      problems.push({ field: at(field), message: 'is no signing secret', suggestion: `write ${signingSecret}` })
  }
  const checkTime = (field: string, ms: number | undefined) => {
    if (ms === 0 || (ms ?? 0) > longestTimerMs)
      problems.push({
        field: at(field),
        message: 'must be more than 0 and at most 24d',
        suggestion: 'write it as 1s or 10s'
      })
  }
  const spelt = new Set<string>()
  for (const name in headers) {
    if (spelt.has(name.toLowerCase())) {
      const message = 'is given twice, in two spellings'
      problems.push({ field: at(`headers.${name}`), message, suggestion: 'remove one of the two' })
    }
    spelt.add(name.toLowerCase())
    checkName(`headers.${name}`, name)
    checkValue(`headers.${name}`, headers[name])
  }
  // Slack's and Rootly's tokens travel as bearer tokens too.
  checkValue('token', token)
  if (auth?.type === 'bearer') checkValue('auth.token', auth.token)
  if (auth?.type === 'api_key') {
    checkName('auth.header', auth.header)
    checkValue('auth.value', auth.value)
  }
  if (auth?.type === 'hmac') {
    checkKey('auth.secret', auth.secret)
    checkKey('auth.previous_secret', auth.previous_secret)
  }
  if (name === 'health')
    problems.push({ field: at('name'), message: 'is the name of a route', suggestion: 'take another' })
  checkTime('timeout', timeout)
  checkTime('rate_limit.per', rate_limit?.per)
  return tls ? [...problems, ...tlsProblems(tls, at)] : problems
}

/**
 * The schema of one kind: the common settings, its type and its own fields; anything else is refused. The examples are
 * complete, valid settings, one for each way to use the kind; documents show them and the contract test sends by them.
 */
export function settingsOf<const T extends string, P extends TProperties>(type: T, own: P, examples: object[]) {
  return Type.Object({ type: Type.Literal(type), ...commonSettings, ...own }, { additionalProperties: false, examples })
}
