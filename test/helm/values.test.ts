import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { chartFiles } from '../../scripts/chart-docs.js'
import { Config, readConfig } from '../../src/config.js'
import { readTarget } from '../../src/targets/target.js'
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
      ],
      [
        { serviceMonitor: { enabled: true, interval: '1s', scrapeTimeout: '1001ms' } },
        /serviceMonitor\.scrapeTimeout: is 1001ms, longer than serviceMonitor\.interval, which is 1s/
      ]
    ]
    for (const [values, message] of refused) t.match(refusal(values), message)
    t.equal(refusal({ serviceMonitor: { enabled: true, interval: '1m', scrapeTimeout: '60000ms' } }), '')
    t.equal(refusal({ serviceMonitor: { enabled: true, interval: null } }), '')
  })

  t.test('a time or size of zero is refused where the service refuses it, and nowhere else', async t => {
    const { properties } = Config as unknown as { properties: Record<string, { reads?: string }> }
    const zeros: Record<string, string> = { duration: '0.0s', size: '0B' }
    const fields = Object.entries(properties).filter(([, { reads = '' }]) => reads in zeros)
    t.ok(fields.length > 10)
    for (const [name, { reads }] of fields) {
      const config = { [name]: zeros[reads!] }
      if (readConfig(config).ok) t.equal(refusal({ config }), '', name)
      else t.match(refusal({ config }), new RegExp(`config/${name}.*does not match pattern '\\[1-9\\]'`))
    }
    t.equal(refusal({ config: { PUBLISH_TIMEOUT: '0.5s', BODY_LIMIT: '10B' } }), '')

    const targets: [string, object][] = [
      ['timeout', { ...webhook, timeout: '0s' }],
      ['rate_limit/per', { ...webhook, rate_limit: { requests: 1, burst: 1, per: '0m' } }],
      ['hold', { type: 'alertmanager', url: 'http://alertmanager', hold: '0h' }]
    ]
    for (const [field, target] of targets) {
      t.notOk(readTarget(target, 'a').ok)
      t.match(refusal({ targets: { a: target } }), `targets/a/${field}': '0`)
    }
    t.match(refusal({ persistence: { size: '0Gi' } }), /persistence\/size/)
  })

  t.test('a URL or address range that is none is refused, without the secrets that may stand in a URL', async t => {
    const otel = 'OTEL_EXPORTER_OTLP_ENDPOINT'
    const redisUrl = (REDIS_URL: string) => ({ QUEUE: 'redis', REDIS_URL })
    const bad: [Record<string, string>, RegExp][] = [
      [{ [otel]: 'collector:4318' }, /config\.OTEL_EXPORTER_OTLP_ENDPOINT: is no http or https URL/],
      [redisUrl('hunter2@redis:6379'), /config\.REDIS_URL: is no Redis URL/],
      [{ EGRESS_DENY: '10.0.0.0/8,10.0.0.1' }, /config\.EGRESS_DENY: 10\.0\.0\.1 is no CIDR range/],
      [{ EGRESS_ALLOW: 'receiver.payments.svc/8' }, /config\.EGRESS_ALLOW: receiver\.payments\.svc\/8 is no CIDR range/]
    ]
    for (const [config, message] of bad) {
      t.notOk(readConfig(config).ok)
      t.match(refusal({ config }), message)
      t.notMatch(refusal({ config }), 'hunter2')
    }
    const ranges = ' 10.0.0.0/8,, 10/8,0x7f.1/8,010.0.0.1/08,FE80::%eth0/10,::ffff:1.2.3.4/96, '
    const good: Record<string, string>[] = [
      { [otel]: ' HTTPS://collector ' },
      { [otel]: 'http:collector\n' },
      { [otel]: '' },
      redisUrl(' Rediss://:a@redis '),
      redisUrl('redis://[::1]:6379/0'),
      { EGRESS_DENY: ranges, EGRESS_ALLOW: ranges },
      { EGRESS_DENY: '', EGRESS_ALLOW: ' ' }
    ]
    for (const config of good) {
      t.ok(readConfig(config).ok)
      t.equal(refusal({ config }), '')
    }

    for (const target of [
      { type: 'webhook', url: 'receiver/hunter2' },
      { type: 'webhook', url: 'ftp://receiver/hunter2' },
      { type: 'alertmanager', urls: ['http://a', 'b:hunter2'] }
    ]) {
      t.notOk(readTarget(target, 'hook').ok)
      t.match(refusal({ targets: { hook: target } }), /targets\.hook: has a URL that is not http or https/)
      t.notMatch(refusal({ targets: { hook: target } }), 'hunter2')
    }
    for (const target of [
      { type: 'webhook', url: ' HTTP:receiver ' },
      { type: 'alertmanager', urls: ['http://a', 'https://b'] },
      { type: 'pagerduty', routing_key: '0123456789abcdef0123456789abcdef' }
    ]) {
      t.ok(readTarget(target, 'hook').ok)
      t.equal(refusal({ targets: { hook: target } }), '')
    }
  })

  t.test('names that Kubernetes would refuse are refused', async t => {
    const long = 'a'.repeat(64)
    const refused: [object, RegExp][] = [
      [{ nameOverride: long }, /nameOverride': maxLength: got 64, want 63/],
      [{ fullnameOverride: long }, /fullnameOverride': maxLength: got 64, want 63/],
      ...['Mine', 'my_own', 'my.own', '-mine', 'mine-', 'my\nown'].flatMap((name): [object, RegExp][] => [
        [{ nameOverride: name }, /nameOverride': .* does not match pattern/],
        [{ fullnameOverride: name }, /fullnameOverride': .* does not match pattern/]
      ]),
      [{ fullnameOverride: '1st' }, /fullnameOverride': .* does not match pattern/]
    ]
    for (const [values, message] of refused) t.match(refusal(values), message)
    for (const name of ['', 'a', 'my-own', long.slice(1)])
      t.equal(refusal({ nameOverride: name, fullnameOverride: name }), '')
    t.equal(refusal({ nameOverride: '1st' }), '')
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
