import { existsSync } from 'node:fs'
import ipaddr from 'ipaddr.js'
import Type, { type Static } from 'typebox'
import { Duration, dnsLabel, longestTimerMs, type Problem, type Reading, reader, SecretText, Size } from './schema.js'

const Text = (description: string, value?: string) => Type.String({ description, default: value })
const Whole = (description: string, value: number, minimum = 0, maximum = 1_000_000) =>
  Type.Integer({ description, default: value, minimum, maximum })
const Switch = (description: string, value: boolean) => Type.Boolean({ description, default: value })
const Time = (description: string, value: string) => Duration({ description, default: value })

const leavesOut = { description: 'Which targets health leaves out.' }
export const HealthStrategy = Type.Enum(['skip_unhealthy', 'publish_to_all', 'skip_unhealthy_and_degraded'], leavesOut)
export type HealthStrategy = Static<typeof HealthStrategy>

/** The environment, as `.env.example`, the chart and the documents list it. Nothing else configures the service. */
export const Config = Type.Object({
  HOST: Text('Address to listen on.', '0.0.0.0'),
  PORT: Whole('Port to listen on; 0 picks a free one.', 8080, 0, 65535),
  LOG_LEVEL: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: 'info',
    description: 'Least level that is logged.'
  }),

  DISCOVERY: Type.Enum(['file', 'kubernetes'], {
    description: 'Where targets are found. Default: kubernetes in a pod, else file.'
  }),
  TARGETS_FILE: Text(
    'A file of targets, or a directory with one target per file (YAML or JSON); reloaded on change.',
    './targets.yaml'
  ),
  K8S_NAMESPACES: Text('Namespaces to watch, comma-separated; * for all. Default: the own one.', ''),
  K8S_LABEL_SELECTOR: Text('Label selector of the Secrets that are targets.', 'publishing-target=true'),
  REFRESH_INTERVAL: Time('Kubernetes: a full look at all targets besides the watch.', '5m'),

  PUBLISH_TIMEOUT: Time('Longest that one publish may take.', '30s'),
  ADAPTIVE_TIMEOUT: Switch('Shorten it to 5 s + 0.5 s per target where that is less.', true),
  ACK_TIMEOUT: Time('An Alertmanager body is answered within this time; what still runs is owned by the queue.', '5s'),
  ATTEMPT_TIMEOUT: Time('Longest that one HTTP exchange with a target may take.', '10s'),
  MAX_CONCURRENT: Whole('Deliveries at once per publish; 0 = no limit.', 50),

  CHECK_HEALTH: Switch('Whether named publishes look at health.', true),
  HEALTH_STRATEGY: Type.Enum(HealthStrategy.enum, { ...leavesOut, default: 'skip_unhealthy' }),
  RESPECT_CIRCUIT_BREAKERS: Switch('Whether an open circuit keeps live attempts away.', true),
  HEALTH_INTERVAL: Time('Time between health checks of a target.', '2m'),
  HEALTH_TIMEOUT: Time('Longest that a health check may take.', '5s'),
  HEALTH_FAILURE_THRESHOLD: Whole('Failed checks in a row that make a target unhealthy.', 3, 1),
  HEALTH_DEGRADED_THRESHOLD: Time('A check that takes this long makes a target degraded.', '2s'),
  HEALTH_MAX_CONCURRENT: Whole('Health checks at once.', 10, 1),
  CIRCUIT_FAILURE_THRESHOLD: Whole('Failed attempts in a row that open a circuit.', 5, 1),
  CIRCUIT_SUCCESS_THRESHOLD: Whole('Successful probes that close it.', 2, 1),
  CIRCUIT_OPEN_DURATION: Time('How long an open circuit waits before a probe.', '30s'),

  QUEUE: Type.Enum(['embedded', 'redis', 'off'], {
    default: 'embedded',
    description: 'Where owed alerts and the ledger are kept.'
  }),
  QUEUE_DIR: Text('Directory of the embedded queue.', './data'),
  REDIS_URL: Type.Optional(
    SecretText({ description: 'Redis or Valkey for QUEUE=redis: redis://user:password@host:6379/0.' })
  ),
  QUEUE_WORKERS: Whole('Retries at once.', 10, 1, 1000),
  QUEUE_MAX_PER_TARGET: Whole('Entries that one target may be owed.', 10_000, 1),
  RETRY_BASE: Time('First retry delay, doubled at each attempt.', '2s'),
  RETRY_MAX_DELAY: Time('Longest retry delay.', '5m'),
  RETRY_MAX_AGE: Time('After this age the next failed attempt is the last.', '6h'),
  DEAD_LETTER_RETENTION: Time('How long dead letters are kept.', '7d'),

  DRAIN_TIMEOUT: Time('Longest wait for running deliveries at shutdown.', '20s'),
  MAX_IN_FLIGHT: Whole('Publishes at once before 503.', 1000, 1),
  DEDUP_WINDOW: Time(
    'Time in which the same notification is taken for a twin. Keep it below the smallest repeat_interval.',
    '2m'
  ),
  API_TOKENS_FILE: Type.Optional(
    Text('File of API tokens, one per line: name:role:token; roles publish, read, admin. Unset: everything is open.')
  ),
  BODY_LIMIT: Size({ description: 'Largest request body.', default: '10MiB' }),
  EGRESS_DENY: Text(
    'Address ranges (CIDR list) that are never connected to.',
    '169.254.0.0/16,fe80::/10,fd00:ec2::254/128,fd20:ce::254/128,100.100.100.200/32,168.63.129.16/32,192.0.0.192/32'
  ),
  EGRESS_ALLOW: Text('Exceptions to EGRESS_DENY (CIDR list).', ''),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(Text('OTLP/HTTP endpoint for traces. Unset: tracing is off.'))
})
export type Config = Static<typeof Config>

const read = reader(Config)
const properties = Config.properties as Record<string, { type?: string }>

/**
 * The configuration from an environment. Unset and empty variables take their defaults; others than those of the schema
 * are not looked at. Every problem names its variable and never shows a value.
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Reading<Config> {
  const usual = { DISCOVERY: inPod(env) ? 'kubernetes' : 'file' }
  const input: Record<string, unknown> = { ...usual }
  for (const [name, { type }] of Object.entries(properties)) {
    const text = env[name]?.trim()
    if (text) input[name] = fromText(text, type)
  }
  const reading = read(input)
  if (reading.ok) {
    const problems = relations(reading.value)
    return problems.length > 0 ? { ok: false, problems } : reading
  }
  const wrong = new Set(reading.problems.map(({ field }) => field))
  const rest = read({ ...usual, ...Object.fromEntries(Object.entries(input).filter(([name]) => !wrong.has(name))) })
  const more = rest.ok ? relations(rest.value).filter(({ field }) => !wrong.has(field)) : []
  return { ok: false, problems: [...reading.problems, ...more] }
}

function inPod(env: Readonly<Record<string, string | undefined>>): boolean {
  return env.KUBERNETES_SERVICE_HOST !== undefined && existsSync('/var/run/secrets/kubernetes.io/serviceaccount/token')
}

function fromText(text: string, type: string | undefined): unknown {
  if (type === 'integer' && /^-?\d+$/.test(text)) return Number(text)
  if (type === 'boolean' && /^(true|false)$/i.test(text)) return text.toLowerCase() === 'true'
  return text
}

const times = [
  'REFRESH_INTERVAL',
  'PUBLISH_TIMEOUT',
  'ACK_TIMEOUT',
  'ATTEMPT_TIMEOUT',
  'HEALTH_INTERVAL',
  'HEALTH_TIMEOUT',
  'HEALTH_DEGRADED_THRESHOLD',
  'RETRY_BASE',
  'RETRY_MAX_DELAY'
] as const

function relations(config: Config): Problem[] {
  const problems: Problem[] = []
  for (const field of times) {
    if (config[field] <= 0 || config[field] > longestTimerMs)
      problems.push({
        field,
        message: 'must be more than 0 and at most 24d',
        suggestion: 'write it as 500ms, 10s or 2m'
      })
  }
  if (config.DRAIN_TIMEOUT > longestTimerMs)
    problems.push({ field: 'DRAIN_TIMEOUT', message: 'must be at most 24d', suggestion: 'write it as 20s' })
  if (config.BODY_LIMIT === 0)
    problems.push({ field: 'BODY_LIMIT', message: 'must be more than 0', suggestion: 'write it as 512KiB or 10MiB' })
  if (!listOf(config.K8S_NAMESPACES).every(name => name === '*' || new RegExp(dnsLabel).test(name)))
    problems.push({
      field: 'K8S_NAMESPACES',
      message: 'has an entry that is not a namespace',
      suggestion: 'write names as monitoring,ops, or *'
    })
  if (config.REDIS_URL && !isUrl(config.REDIS_URL.reveal(), 'redis:', 'rediss:'))
    problems.push({
      field: 'REDIS_URL',
      message: 'is not a Redis URL',
      suggestion: 'write it as redis://user:password@host:6379/0'
    })
  const otlp = config.OTEL_EXPORTER_OTLP_ENDPOINT
  if (otlp !== undefined && !isUrl(otlp, 'http:', 'https:'))
    problems.push({
      field: 'OTEL_EXPORTER_OTLP_ENDPOINT',
      message: 'is not an http or https URL',
      suggestion: 'write it as http://collector:4318'
    })
  if (config.QUEUE === 'redis' && !config.REDIS_URL) {
    problems.push({
      field: 'REDIS_URL',
      message: 'is required with QUEUE=redis',
      suggestion: 'set it to redis://host:6379/0'
    })
  }
  for (const field of ['EGRESS_DENY', 'EGRESS_ALLOW'] as const) {
    const bad = listOf(config[field]).find(range => !ipaddr.isValidCIDR(range))
    if (bad)
      problems.push({
        field,
        message: 'has an entry that is not a CIDR range',
        suggestion: 'write ranges as 10.0.0.0/8,fd00::/8'
      })
  }
  return problems
}

function isUrl(text: string, ...protocols: string[]): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined
  return url !== undefined && url.hostname !== '' && protocols.includes(url.protocol)
}

/** The entries of a comma-separated list, trimmed, without empty ones. */
export function listOf(text: string): string[] {
  return text
    .split(',')
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
}
