import { readFileSync } from 'node:fs'
import t from 'tap'
import { envExample } from '../scripts/env-example.js'
import { Config, listOf, readConfig } from '../src/config.js'

function read(env: Record<string, string | undefined> = {}): Config {
  const reading = readConfig(env)
  if (!reading.ok) throw new Error(JSON.stringify(reading.problems))
  return reading.value
}

function problems(env: Record<string, string>): string[] {
  const reading = readConfig(env)
  return reading.ok ? [] : reading.problems.map(({ field, message }) => `${field} ${message}`)
}

const defaults = {
  HOST: '0.0.0.0',
  PORT: 8080,
  LOG_LEVEL: 'info',
  DISCOVERY: 'file',
  TARGETS_FILE: './targets.yaml',
  K8S_NAMESPACES: '',
  K8S_LABEL_SELECTOR: 'publishing-target=true',
  REFRESH_INTERVAL: 300_000,
  PUBLISH_TIMEOUT: 30_000,
  ADAPTIVE_TIMEOUT: true,
  ACK_TIMEOUT: 5_000,
  ATTEMPT_TIMEOUT: 10_000,
  MAX_CONCURRENT: 50,
  CHECK_HEALTH: true,
  HEALTH_STRATEGY: 'skip_unhealthy',
  RESPECT_CIRCUIT_BREAKERS: true,
  HEALTH_INTERVAL: 120_000,
  HEALTH_TIMEOUT: 5_000,
  HEALTH_FAILURE_THRESHOLD: 3,
  HEALTH_DEGRADED_THRESHOLD: 2_000,
  HEALTH_MAX_CONCURRENT: 10,
  CIRCUIT_FAILURE_THRESHOLD: 5,
  CIRCUIT_SUCCESS_THRESHOLD: 2,
  CIRCUIT_OPEN_DURATION: 30_000,
  QUEUE: 'embedded',
  QUEUE_DIR: './data',
  QUEUE_WORKERS: 10,
  QUEUE_MAX_PER_TARGET: 10_000,
  RETRY_BASE: 2_000,
  RETRY_MAX_DELAY: 300_000,
  RETRY_MAX_AGE: 21_600_000,
  DEAD_LETTER_RETENTION: 604_800_000,
  DRAIN_TIMEOUT: 20_000,
  MAX_IN_FLIGHT: 1_000,
  DEDUP_WINDOW: 120_000,
  BODY_LIMIT: 10_485_760,
  EGRESS_DENY:
    '169.254.0.0/16,fe80::/10,fd00:ec2::254/128,fd20:ce::254/128,100.100.100.200/32,168.63.129.16/32,192.0.0.192/32',
  EGRESS_ALLOW: ''
}

t.test('an empty environment gives the documented defaults', async t => {
  t.strictSame(read(), defaults)
})

t.test('an empty variable is as good as none', async t => {
  const empty = Object.fromEntries(Object.keys(Config.properties).map(name => [name, '  ']))
  t.strictSame(read(empty), defaults)
})

t.test('variables that are not its own are not looked at', async t => {
  t.strictSame(read({ NODE_ENV: 'production', PATH: '/bin', port: '1', HEALTH: 'x', npm_config_x: 'y' }), defaults)
})

t.test('a Kubernetes service address alone makes no pod', async t => {
  t.equal(read({ KUBERNETES_SERVICE_HOST: '10.0.0.1' }).DISCOVERY, 'file')
  t.equal(read({ DISCOVERY: 'kubernetes' }).DISCOVERY, 'kubernetes')
})

for (const [name, text, value] of [
  ['PORT', '0', 0],
  ['PORT', ' 9090 ', 9090],
  ['ADAPTIVE_TIMEOUT', 'false', false],
  ['CHECK_HEALTH', 'FALSE', false],
  ['RESPECT_CIRCUIT_BREAKERS', 'True', true],
  ['PUBLISH_TIMEOUT', '1500ms', 1_500],
  ['DEDUP_WINDOW', '0s', 0],
  ['RETRY_MAX_AGE', '30d', 2_592_000_000],
  ['DEAD_LETTER_RETENTION', '90d', 7_776_000_000],
  ['BODY_LIMIT', '512KiB', 524_288],
  ['MAX_CONCURRENT', '0', 0],
  ['QUEUE', 'off', 'off'],
  ['K8S_NAMESPACES', 'ops, monitoring', 'ops, monitoring'],
  ['K8S_NAMESPACES', '*', '*'],
  ['EGRESS_DENY', '10.0.0.0/8, fd00::/8', '10.0.0.0/8, fd00::/8'],
  ['EGRESS_ALLOW', '169.254.1.1/32', '169.254.1.1/32'],
  ['API_TOKENS_FILE', '/run/tokens', '/run/tokens'],
  ['OTEL_EXPORTER_OTLP_ENDPOINT', 'http://collector:4318', 'http://collector:4318']
] as const) {
  t.test(`${name}=${text} is read`, async t => t.strictSame(read({ [name]: text }), { ...defaults, [name]: value }))
}

t.test('the Redis URL is a secret', async t => {
  const { REDIS_URL } = read({ QUEUE: 'redis', REDIS_URL: 'rediss://me:hunter2@redis:6379/0' })
  t.equal(REDIS_URL?.reveal(), 'rediss://me:hunter2@redis:6379/0')
  t.equal(JSON.stringify(REDIS_URL), '"[secret]"')
})

const badValues: Record<string, string[]> = {
  PORT: ['65536', '-1', '80.5', 'http', '0x50', '1e3'],
  LOG_LEVEL: ['verbose', 'INFO'],
  DISCOVERY: ['consul'],
  K8S_NAMESPACES: ['Ops', 'ops,my_ns', '-x'],
  REFRESH_INTERVAL: ['5', '0s', 'often'],
  PUBLISH_TIMEOUT: ['30', '0ms', '-5s', '25d', `${'9'.repeat(400)}s`],
  ADAPTIVE_TIMEOUT: ['yes', '1'],
  ACK_TIMEOUT: ['five', '0s'],
  ATTEMPT_TIMEOUT: ['10 s', '0s'],
  MAX_CONCURRENT: ['-1', 'many', '1000001'],
  CHECK_HEALTH: ['on'],
  HEALTH_STRATEGY: ['skip'],
  RESPECT_CIRCUIT_BREAKERS: ['no'],
  HEALTH_INTERVAL: ['2 minutes', '0s', '25d'],
  HEALTH_TIMEOUT: ['x', '0s'],
  HEALTH_FAILURE_THRESHOLD: ['0', 'x'],
  HEALTH_DEGRADED_THRESHOLD: ['x', '0s'],
  HEALTH_MAX_CONCURRENT: ['0'],
  CIRCUIT_FAILURE_THRESHOLD: ['0'],
  CIRCUIT_SUCCESS_THRESHOLD: ['0'],
  CIRCUIT_OPEN_DURATION: ['30'],
  QUEUE: ['kafka', 'false'],
  REDIS_URL: ['redis', 'http://redis:6379', 'redis:6379'],
  QUEUE_WORKERS: ['0', '1001'],
  QUEUE_MAX_PER_TARGET: ['0'],
  RETRY_BASE: ['2', '0s'],
  RETRY_MAX_DELAY: ['x', '0s'],
  RETRY_MAX_AGE: ['x'],
  DEAD_LETTER_RETENTION: ['1w'],
  DRAIN_TIMEOUT: ['x', '25d'],
  MAX_IN_FLIGHT: ['0'],
  DEDUP_WINDOW: ['2'],
  BODY_LIMIT: ['10', '10M', '0B', '1.5MiB'],
  EGRESS_DENY: ['10.0.0.1', 'all', '10.0.0.0/8,10.0.0.0/33'],
  EGRESS_ALLOW: ['fd00::/129'],
  OTEL_EXPORTER_OTLP_ENDPOINT: ['localhost:4318', 'grpc://localhost']
}
// Any text is an address, a file or a selector: whether it is a good one shows when it is used.
const anyText = ['HOST', 'TARGETS_FILE', 'K8S_LABEL_SELECTOR', 'QUEUE_DIR', 'API_TOKENS_FILE']

t.test('every variable has bad values to be tried, but for those that take any text', async t => {
  t.strictSame([...Object.keys(badValues), ...anyText].sort(), Object.keys(Config.properties).sort())
})

for (const [name, values] of Object.entries(badValues)) {
  t.test(`a bad ${name} is one problem that names it, and does not repeat it`, async t => {
    for (const value of values) {
      const reading = readConfig({ [name]: value })
      t.match(reading, { ok: false, problems: [{ field: name, message: /./, suggestion: /./ }] }, value)
      if (reading.ok) continue
      t.equal(reading.problems.length, 1)
      if (value.length > 5) t.notMatch(JSON.stringify(reading.problems), value)
    }
  })
}

t.test('QUEUE=redis needs a Redis', async t => {
  t.strictSame(problems({ QUEUE: 'redis' }), ['REDIS_URL is required with QUEUE=redis'])
})

t.test('all bad variables are told at once', async t => {
  const env = Object.fromEntries(Object.entries(badValues).map(([name, values]) => [name, values[0]!]))
  const told = problems(env).map(problem => problem.split(' ')[0])
  t.strictSame(told.sort(), Object.keys(badValues).sort())
})

t.test('lists are trimmed, and empty entries left out', async t => {
  t.strictSame(listOf(' a, b ,,c,'), ['a', 'b', 'c'])
  t.strictSame(listOf(''), [])
})

const example = () => readFileSync(new URL('../.env.example', import.meta.url), 'utf8')

t.test('.env.example is in step with the schema (npm run env:example)', async t => {
  t.equal(example(), envExample())
})

t.test('.env.example tells every variable, and its values are the defaults', async t => {
  const pairs = [...example().matchAll(/^#([A-Z0-9_]+)=(.*)$/gm)].map(([, name, value]) => [name!, value!] as const)
  t.strictSame(
    pairs.map(([name]) => name),
    Object.keys(Config.properties)
  )
  t.strictSame(read(Object.fromEntries(pairs)), defaults)
})
