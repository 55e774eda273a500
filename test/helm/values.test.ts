import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { chartFiles } from '../../scripts/chart-docs.js'
import { Config } from '../../src/config.js'
import { chart, env, refusal, render } from '../support/chart.js'
import { needs } from '../support/programs.js'

const tokens = [
  { name: 'alertmanager', role: 'publish', token: '0123456789abcdef0123456789abcdef' },
  { name: 'ops', role: 'admin', token: 'fedcba9876543210fedcba9876543210' }
]
const webhook = { type: 'webhook', url: 'http://receiver.payments.svc/' }
const redis = { config: { QUEUE: 'redis' }, redis: { existingSecret: 'shared-redis' } }

t.test('what is generated is in step with the schemas of the service', async t => {
  for (const [file, text] of Object.entries(chartFiles())) {
    t.equal(readFileSync(join(chart, file), 'utf8'), text, `${file}: run npx tsx scripts/chart-docs.ts --write`)
  }
})

t.test('the chart has the version of the service', async t => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  const { appVersion } = parse(readFileSync(join(chart, 'Chart.yaml'), 'utf8'))
  t.equal(appVersion, version)
})

t.test('the values', async t => {
  if (!needs(t, 'helm')) return

  t.test('every variable of the service can be set, and reaches it as it was written', async t => {
    const samples: Record<string, unknown> = {
      REDIS_URL: 'redis://redis',
      API_TOKENS_FILE: '/tokens',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://otel:4318'
    }
    const own = {
      DISCOVERY: 'file',
      TARGETS_FILE: '/targets',
      QUEUE: 'redis',
      K8S_NAMESPACES: 'a,b',
      EGRESS_ALLOW: '10.0.0.0/8',
      BODY_LIMIT: '1MiB'
    }
    const config: Record<string, unknown> = {}
    for (const [variable, schema] of Object.entries(Config.properties as Record<string, { default?: unknown }>)) {
      config[variable] = (own as Record<string, unknown>)[variable] ?? schema.default ?? samples[variable]
    }
    t.strictSame(
      Object.entries(config).filter(([, value]) => value === undefined),
      []
    )
    const written = env(render({ config: { ...config, MAX_IN_FLIGHT: 1_000_000, QUEUE_DIR: '/data' } }))
    t.strictSame(written, {
      ...Object.fromEntries(Object.entries(config).map(([variable, value]) => [variable, String(value)])),
      MAX_IN_FLIGHT: '1000000',
      QUEUE_DIR: '/data',
      REDIS_URL: 'redis://from-a-secret'
    })
  })

  t.test('values that do not go together are refused with the one to change', async t => {
    const refused: [object, RegExp][] = [
      [{ replicas: 2 }, /replicas: 2 replicas need config\.QUEUE=redis/],
      [
        { replicas: 2, config: { QUEUE: 'off' } },
        /replicas: 2 replicas need config\.QUEUE=redis; with config\.QUEUE=off/
      ],
      [{ autoscaling: { enabled: true } }, /autoscaling\.enabled: more than one replica needs config\.QUEUE=redis/],
      [
        { ...redis, autoscaling: { enabled: true, minReplicas: 7 } },
        /autoscaling\.minReplicas: is above autoscaling\.maxReplicas/
      ],
      [{ config: { QUEUE: 'redis' } }, /redis\.existingSecret: config\.QUEUE=redis needs a Redis/],
      [
        { ...redis, config: { QUEUE: 'redis', REDIS_URL: 'redis://a' } },
        /redis\.existingSecret: config\.REDIS_URL is set as well/
      ],
      [{ config: { QUEUE_DIR: './data' } }, /config\.QUEUE_DIR: must be an absolute path/],
      [
        { apiTokens: { tokens, existingSecret: 'mine' } },
        /apiTokens\.tokens: apiTokens\.existingSecret is set as well/
      ],
      [
        { apiTokens: { tokens }, config: { API_TOKENS_FILE: '/t' } },
        /config\.API_TOKENS_FILE: apiTokens mounts the file/
      ],
      [
        { config: { DISCOVERY: 'file' } },
        /config\.DISCOVERY: file needs targets, targetsSecret or config\.TARGETS_FILE/
      ],
      [
        { config: { DISCOVERY: 'file', TARGETS_FILE: '/t' }, targetsSecret: 'mine' },
        /config\.TARGETS_FILE: .* set one of them/
      ],
      [
        { config: { DISCOVERY: 'file' }, targets: { a: webhook }, targetsSecret: 'mine' },
        /targets: targetsSecret is set as well/
      ],
      [{ targetsSecret: 'mine' }, /targetsSecret: is read with config\.DISCOVERY=file only/],
      [
        { targets: { a: webhook }, config: { K8S_NAMESPACES: 'payments' } },
        /targets: they are created in namespace monitoring/
      ],
      [
        { targets: { a: webhook }, config: { K8S_LABEL_SELECTOR: 'team in (a, b)' } },
        /targets: config\.K8S_LABEL_SELECTOR must be a plain list/
      ]
    ]
    for (const [values, message] of refused) t.match(refusal(values), message)
  })

  t.test('values that are misspelt or of the wrong kind are refused with their name', async t => {
    const refused: [object, RegExp][] = [
      [{ replica: 2 }, /replica/],
      [{ replicas: 0 }, /replicas/],
      [{ image: { tags: 'x' } }, /image.*tags/s],
      [{ config: { PUBLISH_TIMEOUTS: '1s' } }, /config.*PUBLISH_TIMEOUTS/s],
      [{ config: { PUBLISH_TIMEOUT: 'soon' } }, /config\/PUBLISH_TIMEOUT/],
      [{ config: { MAX_CONCURRENT: -1 } }, /config\/MAX_CONCURRENT/],
      [{ config: { MAX_CONCURRENT: 'many' } }, /config\/MAX_CONCURRENT/],
      [{ config: { CHECK_HEALTH: 'maybe' } }, /config\/CHECK_HEALTH/],
      [{ config: { QUEUE: 'kafka' } }, /config\/QUEUE/],
      [{ config: { BODY_LIMIT: '10' } }, /config\/BODY_LIMIT/],
      [{ service: { port: 0 } }, /service\/port/],
      [{ persistence: { size: 'big' } }, /persistence\/size/],
      [{ apiTokens: { tokens: [{ name: 'a', role: 'root', token: '0123456789abcdef' }] } }, /tokens\/0\/role/],
      [{ apiTokens: { tokens: [{ name: 'a', role: 'read', token: 'short' }] } }, /tokens\/0\/token/],
      [{ targets: { a: { url: 'http://a' } } }, /targets\/a.*type/s],
      [{ targets: { a: { type: 'carrier-pigeon' } } }, /targets\/a\/type/],
      [{ targets: { a: { ...webhook, urll: 'x' } } }, /targets\/a.*urll/s],
      [{ targets: { 'Not A Name': webhook } }, /Not A Name/]
    ]
    for (const [values, message] of refused) t.match(refusal(values), message)
  })

  t.test('the notes hold a receiver that Alertmanager can use as it stands', async t => {
    const snippet = (values: object) => {
      const copy = t.testdir()
      cpSync(chart, copy, { recursive: true })
      renameSync(join(copy, 'templates/NOTES.txt'), join(copy, 'notes.src'))
      writeFileSync(
        join(copy, 'templates/notes.yaml'),
        'kind: Notes\nmetadata: { name: notes }\ntext: |\n{{ tpl (.Files.Get "notes.src") . | indent 2 }}\n'
      )
      const { text } = render(values, copy)['Notes notes']!
      return {
        text,
        receivers: parse(/^ {3}(receivers:\n.*?)\n\n/ms.exec(text)![1]!.replace(/^ {3}/gm, '')).receivers
      }
    }
    const url = 'http://rel-alert-fanout.monitoring.svc:9093/api/v1/publish/parallel/all'
    const open = snippet({ service: { port: 9093 } })
    t.strictSame(open.receivers, [{ name: 'alert-fanout', webhook_configs: [{ url, send_resolved: true }] }])
    t.match(open.text, /WARNING: without apiTokens/)
    const closed = snippet({ service: { port: 9093 }, apiTokens: { existingSecret: 'mine' } })
    const authorization = { credentials_file: '/etc/alertmanager/secrets/alert-fanout/token' }
    t.strictSame(closed.receivers, [
      { name: 'alert-fanout', webhook_configs: [{ url, send_resolved: true, http_config: { authorization } }] }
    ])
    t.notMatch(closed.text, /WARNING/)
  })
})
