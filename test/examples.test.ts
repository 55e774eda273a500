import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { kinds } from '../src/targets/registry.js'
import { readTarget } from '../src/targets/target.js'
import { startAlertmanager } from './support/alertmanager.js'
import { needs } from './support/programs.js'
import { type Received, type Receiver, receive } from './support/receiver.js'
import { startTestService, type TestService } from './support/service.js'

const examples = new URL('../examples/', import.meta.url)
const textOf = (name: string) => readFileSync(new URL(name, examples), 'utf8')
const { targets } = parse(textOf('targets.yaml')) as { targets: Settings[] }

interface Settings {
  name: string
  type: string
  url?: string
  urls?: string[]
  health?: object
}

interface Vendors {
  readonly origin: string
  readonly received: readonly Received[]
  /** Resolves with what arrived, as `name`s sorted, once so many requests have. */
  arrivals(count: number): Promise<string[]>
}

/** Every vendor of the example on the loopback; a path that begins with the target's name says which is meant. */
async function vendors(t: Test): Promise<Vendors> {
  let wake = () => {}
  const receiver: Receiver = await receive(t, (response, request) => {
    const isRootly = request.url.startsWith('/rootly/')
    response.writeHead(isRootly ? 201 : 200, { 'content-type': isRootly ? 'application/vnd.api+json' : 'text/plain' })
    response.end(isRootly ? '{"data":{"id":"inc-1","type":"incidents","attributes":{"status":"started"}}}' : 'ok')
    wake()
  })
  const posts = () => receiver.received.filter(({ method }) => method !== 'GET')
  return {
    origin: receiver.origin,
    received: receiver.received,
    async arrivals(count) {
      while (posts().length < count) await new Promise<void>(resolve => (wake = resolve))
      return posts()
        .map(({ url }) => url.split('/')[1]!)
        .sort()
    }
  }
}

/** The example's targets, at addresses of the loopback: all else stays as it is written. */
function atLoopback(origin: string): object[] {
  return targets.map(({ url, urls, ...target }) => {
    const moved = (address: string | undefined) =>
      `${origin}/${target.name}${address === undefined ? '' : new URL(address).pathname.replace(/\/$/, '')}`
    return {
      ...target,
      ...(urls ? { urls: urls.map((peer, index) => `${moved(peer)}/${index}`) } : { url: moved(url) })
    }
  })
}

async function startExample(
  t: Test,
  env: Record<string, string> = {}
): Promise<{ service: TestService; vendors: Vendors }> {
  const all = await vendors(t)
  return { vendors: all, service: await startTestService(t, { targets: atLoopback(all.origin), env }) }
}

/** Runs a script as a user does. Never rejects: what it prints and its exit code are the result. */
async function run(script: string, env: Record<string, string>, ...args: string[]) {
  const path = fileURLToPath(new URL(script, examples))
  const { stdout, stderr, code } = await promisify(execFile)('sh', [path, ...args], { env: { ...process.env, ...env } })
    .then(output => ({ ...output, code: 0 }))
    .catch((error: { stdout: string; stderr: string; code: number }) => error)
  return { code, stderr, body: JSON.parse(stdout) }
}

const outcomes = ({ results }: { results: { target_name: string; success: boolean }[] }) =>
  results.map(({ target_name, success }) => `${target_name} ${success}`)

t.test('the example has one valid target of each type', async t => {
  for (const target of targets) t.match(readTarget(target), { ok: true }, target.name)
  t.strictSame(targets.map(({ type }) => type).sort(), Object.keys(kinds).sort())
})

t.test('named.sh publishes to the targets that it names, in that order', async t => {
  if (!needs(t, 'curl')) return
  const { service, vendors } = await startExample(t)
  const { code, body } = await run('named.sh', { ALERT_FANOUT_URL: service.url })
  t.equal(code, 0)
  t.strictSame(outcomes(body), ['slack-ops true', 'pagerduty-oncall true'])
  t.strictSame(await vendors.arrivals(2), ['pagerduty-oncall', 'slack-ops'])
})

t.test('named.sh with a key sends nothing twice', async t => {
  if (!needs(t, 'curl')) return
  const { service, vendors } = await startExample(t)
  const env = { ALERT_FANOUT_URL: service.url, IDEMPOTENCY_KEY: 'deploy-42' }
  await run('named.sh', env)
  const again = await run('named.sh', env)
  t.match(again.body.results, [{ deduplicated: true }, { deduplicated: true }])
  t.strictSame(await vendors.arrivals(2), ['pagerduty-oncall', 'slack-ops'])
})

t.test('all.sh reaches every target, one request for each alert or for all as the type has it', async t => {
  if (!needs(t, 'curl')) return
  const { service, vendors } = await startExample(t)
  const { code, body } = await run('all.sh', { ALERT_FANOUT_URL: service.url })
  t.equal(code, 0)
  t.strictSame(outcomes(body), targets.map(({ name }) => `${name} true`).sort())
  const perAlert = ['pagerduty-oncall', 'rootly']
  const expected = ['slack-ops', 'tickets', 'central-alertmanager', 'central-alertmanager', ...perAlert, ...perAlert]
  t.strictSame(await vendors.arrivals(expected.length), expected.sort())
})

t.test('healthy.sh leaves out what is not healthy', async t => {
  if (!needs(t, 'curl')) return
  const { service } = await startExample(t)
  await service.retarget([
    ...atLoopback((await vendors(t)).origin),
    { name: 'broken', type: 'webhook', url: 'http://127.0.0.1:1/' }
  ])
  for (let check = 0; check < 3; check++) await service.post('/api/v1/targets/broken/check')
  const { code, body } = await run('healthy.sh', { ALERT_FANOUT_URL: service.url })
  t.equal(code, 0)
  t.match(
    body.results.find((result: { target_name: string }) => result.target_name === 'broken'),
    { success: false, skipped: true, skip_reason: 'unhealthy' }
  )
  t.equal(body.success_count, targets.length)
})

t.test('explain.sh shows each request and sends none', async t => {
  if (!needs(t, 'curl')) return
  const { service, vendors } = await startExample(t)
  const { code, body } = await run('explain.sh', { ALERT_FANOUT_URL: service.url })
  t.equal(code, 0)
  t.strictSame(
    body.results.map(
      ({ target_name, decision, requests }: Record<string, string>) => `${target_name} ${decision} ${requests?.length}`
    ),
    ['central-alertmanager send 2', 'pagerduty-oncall skip 0', 'rootly send 1', 'slack-ops send 1', 'tickets send 1']
  )
  t.strictSame(await vendors.arrivals(0), [])
})

t.test('explain.sh takes a body from a file', async t => {
  if (!needs(t, 'curl')) return
  const { service } = await startExample(t)
  const body = fileURLToPath(new URL('fixtures/alertmanager/firing-3.json', import.meta.url))
  const explained = await run('explain.sh', { ALERT_FANOUT_URL: service.url }, body)
  t.equal(explained.code, 0)
  t.equal(explained.body.results.length, targets.length)
})

t.test('the scripts send a token, and fail with the answer where it is missing', async t => {
  if (!needs(t, 'curl')) return
  const tokens = `${t.testdir({ tokens: 'ci:publish:a-token-for-the-examples\n' })}/tokens`
  const { service } = await startExample(t, { API_TOKENS_FILE: tokens })
  const ALERT_FANOUT_URL = service.url
  for (const script of ['named.sh', 'all.sh', 'healthy.sh', 'explain.sh']) {
    const refused = await run(script, { ALERT_FANOUT_URL })
    t.match(refused, { code: 22, body: { code: 'UNAUTHORIZED' } }, script)
    const allowed = await run(script, { ALERT_FANOUT_URL, ALERT_FANOUT_TOKEN: 'a-token-for-the-examples' })
    t.equal(allowed.code, 0, script)
  }
})

t.test('amtool finds nothing wrong with alertmanager.yml', async t => {
  if (!needs(t, 'amtool')) return
  const path = fileURLToPath(new URL('alertmanager.yml', examples))
  const { stdout } = await promisify(execFile)('amtool', ['check-config', path])
  t.match(stdout, /SUCCESS/)
})

t.test('a real Alertmanager sends by alertmanager.yml', async t => {
  if (!needs(t, 'prometheus-alertmanager')) return
  const { service, vendors } = await startExample(t)
  const configuration = textOf('alertmanager.yml')
    .replaceAll('http://localhost:8080', service.url)
    .replace('group_wait: 10s', 'group_wait: 0s')
  const { url } = await startAlertmanager(t, configuration)
  const fire = async (labels: Record<string, string>) => {
    const answer = await fetch(`${url}/api/v2/alerts`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify([{ labels }])
    })
    t.equal(answer.status, 200)
  }
  await fire({ alertname: 'LagHigh', severity: 'warning', team: 'database' })
  t.strictSame(await vendors.arrivals(2), ['slack-ops', 'tickets'])
  await fire({ alertname: 'NodeDown', severity: 'warning' })
  const everybody = ['slack-ops', 'tickets', 'rootly', 'central-alertmanager', 'central-alertmanager']
  t.strictSame(await vendors.arrivals(7), ['slack-ops', 'tickets', ...everybody].sort())
})
