import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { docFiles } from '../scripts/docs.js'
import { anchorOf } from '../scripts/docs-api.js'
import { Config, readConfig } from '../src/config.js'
import { errorTable } from '../src/errors.js'
import { prefix, publishing } from '../src/metrics/table.js'
import { readTarget } from '../src/targets/target.js'
import { needs } from './support/programs.js'
import { receive } from './support/receiver.js'
import { startTestService } from './support/service.js'

const root = new URL('../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')
const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'helm/README.md'],
  ...readdirSync(new URL('docs', root)).map(name => `docs/${name}`)
].filter(name => name.endsWith('.md'))

/** Fenced blocks of a page by their language. */
function blocks(page: string, language: string): string[] {
  return [...read(page).matchAll(/^```(\w*)\n(.*?)^```$/gms)].flatMap(([, name, text]) =>
    name === language ? [text!] : []
  )
}

const prose = (page: string) => read(page).replace(/^```.*?^```$/gms, '')
const anchors = (page: string) => [...prose(page).matchAll(/^#+ (.+)$/gm)].map(([, title]) => anchorOf(title!))
const paths = Object.keys((parse(read('openapi.yaml'), { maxAliasCount: -1 }) as { paths: object }).paths)

t.test('every link in the documents leads somewhere', async t => {
  for (const page of pages) {
    const broken = [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link]) => {
      if (/^https?:/.test(link!)) return []
      const { pathname, hash } = new URL(link!, new URL(page, root))
      const target = decodeURIComponent(pathname)
      if (!existsSync(target)) return [link]
      const place = decodeURIComponent(hash.slice(1))
      const file = target.slice(fileURLToPath(root).length)
      return place === '' || anchors(file).includes(place) ? [] : [link]
    })
    t.strictSame(broken, [], page)
  }
})

t.test('every document is reached from the README', async t => {
  const linked = (page: string) =>
    [...read(page).matchAll(/\]\((?:\.\.\/)?(?:docs\/)?([\w-]+\.md)/g)].map(([, it]) => it!)
  const reached = new Set(linked('README.md'))
  for (const name of readdirSync(new URL('docs', root))) t.ok(reached.has(name), name)
})

t.test('files that the documents name are there', async t => {
  for (const page of pages) {
    const named = [...prose(page).matchAll(/`((?:src|docs|examples|helm|scripts|test|bench)\/[\w./-]+)`/g)].map(
      ([, it]) => it!
    )
    // The file that a newcomer writes, and the one that a run of the benchmarks does.
    const made = ['src/targets/teams.ts', 'test/targets/teams.test.ts', 'bench/RESULTS.md']
    t.strictSame(
      named.filter(path => !made.includes(path) && !existsSync(new URL(path, root))),
      [],
      page
    )
  }
})

t.test('npm scripts that the documents name exist', async t => {
  const { scripts } = JSON.parse(read('package.json'))
  for (const page of pages) {
    const named = [...read(page).matchAll(/npm (?:run )?([\w:]+)/g)].map(([, name]) => name!)
    const unknown = named.filter(name => !['ci', 'install', 'cannot', ...Object.keys(scripts)].includes(name))
    t.strictSame(unknown, [], page)
  }
})

t.test('the README’s commands are the three that it promises', async t => {
  const [commands] = blocks('README.md', 'sh')
  t.strictSame(
    commands!.split('\n').map(line => line.replace(/ *#.*/, '')),
    ['npm ci && npm run demo', 'npm ci && npm test', 'npm start', '']
  )
})

t.test('routes that the documents name exist', async t => {
  const known = new Set([...paths.map(steady), '/', '/docs', '/openapi.json', '/openapi.yaml'])
  const ours = /(?:GET|POST|DELETE) (\/[\w/{}.-]*)|(\/api\/v1\/[\w/{}.-]*)/g
  for (const page of pages) {
    const named = [...read(page).matchAll(ours)].map(([, method, bare]) => steady((method ?? bare)!))
    t.strictSame(
      [...new Set(named)].filter(path => !known.has(path)),
      [],
      page
    )
  }
})

/** A route as it is told apart from others: with any parameter, and without a full stop after it. */
function steady(path: string): string {
  return path
    .replace(/[.)]+$/, '')
    .replace(/(.)\/$/, '$1')
    .replace(/\/targets\/(?!health$|refresh$)[\w{}-]+/, '/targets/{name}')
}

t.test('metrics that the documents name are exported', async t => {
  const known = Object.keys(publishing).map(name => prefix + name)
  for (const page of pages) {
    const named = [...read(page).matchAll(/alert_history_publishing_\w+/g)].map(([name]) => name)
    t.strictSame(
      [...new Set(named)].filter(name => !known.includes(name.replace(/_(bucket|sum|count)$/, ''))),
      [],
      page
    )
  }
})

t.test('environment variables that the documents name are read', async t => {
  const others =
    /^(REQUIRE_ALL|ALERT_FANOUT_\w+|IDEMPOTENCY_KEY|TOKEN|KUBECONFIG|VERSION|REVISION|PASSWORD|NODE_\w+|OTEL_\w+)$/
  const codes = [...Object.keys(errorTable), 'PUBLISH_CANCELLED', 'EADDRINUSE']
  const known = [...Object.keys(Config.properties), ...codes, 'SIGTERM', 'SIGINT']
  for (const page of pages) {
    const named = [...read(page).matchAll(/(?<![\w{.$])([A-Z][A-Z\d]*_[A-Z\d_]+)(?![\w-])/g)].map(([, name]) => name!)
    t.strictSame(
      [...new Set(named)].filter(name => !known.includes(name) && !others.test(name)),
      [],
      page
    )
  }
})

t.test('the operator’s error codes and alerts are the real ones', async t => {
  const page = read('docs/troubleshooting.md')
  const rules = parse(read('helm/rules/alert-fanout.yaml')) as { groups: { rules: { alert: string }[] }[] }
  const alerts = rules.groups.flatMap(group => group.rules.map(({ alert }) => alert))
  t.strictSame([...new Set(page.match(/AlertFanout\w+/g))].sort(), alerts.sort())
  const told = [...page.matchAll(/^\| \d[\d, ]+ \| (.+?) \|/gm)].flatMap(([, codes]) => codes!.match(/[A-Z_]+/g) ?? [])
  t.strictSame(
    told.filter(code => !(code in errorTable)),
    []
  )
  for (const line of page.matchAll(/^\| (\d+) \| `(\w+)` \|/gm))
    t.equal(String(errorTable[line[2] as 'INTERNAL'][0]), line[1], String(line[2]))
})

t.test('targets in the documents are valid', async t => {
  for (const page of pages) {
    const lists = blocks(page, 'yaml').flatMap(text => (text.startsWith('targets:\n  -') ? [parse(text)] : []))
    for (const { targets } of lists)
      for (const target of targets) t.match(readTarget(target), { ok: true }, `${page} ${target.name}`)
  }
})

t.test('settings in the documents are valid', async t => {
  const settings = pages.flatMap(page => blocks(page, 'sh').filter(text => /^(# .*\n)?([A-Z_]+=.*\n)+$/.test(text)))
  t.ok(settings.length >= 3)
  for (const text of settings) {
    const lines = text.split('\n').filter(line => /^[A-Z]/.test(line))
    const env = Object.fromEntries(
      lines.map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])
    )
    t.match(readConfig(env), { ok: true }, text)
  }
})

t.test('JSON in the documents is JSON', async t => {
  for (const page of pages) for (const text of blocks(page, 'json')) t.doesNotThrow(() => JSON.parse(text), page)
})

t.test('receivers in the documents please amtool', async t => {
  if (!needs(t, 'amtool')) return
  const receivers = blocks('docs/alertmanager.md', 'yaml')
  const whole = receivers.map(text => (text.startsWith('route:') ? text : `route: {receiver: alert-fanout}\n${text}`))
  for (const [index, text] of whole.entries()) {
    const directory = t.testdir({ 'alertmanager.yml': text })
    const { stdout } = await promisify(execFile)('amtool', ['check-config', `${directory}/alertmanager.yml`])
    t.match(stdout, /SUCCESS/, String(index))
  }
})

t.test('the generated parts are in step with the code', async t => {
  for (const [page, text] of Object.entries(docFiles())) t.equal(read(`docs/${page}`), text, `${page}: npm run docs`)
})

t.test('the README’s curl works as it stands', async t => {
  if (!needs(t, 'curl')) return
  const receiver = await receive(t)
  const service = await startTestService(t, { targets: [{ name: 'hook', type: 'webhook', url: receiver.origin }] })
  const command = blocks('README.md', 'sh').find(text => text.startsWith('curl'))!
  const { stdout } = await promisify(execFile)('sh', ['-c', command.replace('http://localhost:8080', service.url)])
  t.match(JSON.parse(stdout), { success: true, results: [{ target_name: 'hook', success: true }] })
  t.equal(receiver.received.filter(({ method }) => method === 'POST').length, 1)
})

t.test('the demo prints what the README says', async t => {
  const [, told] = /<!-- demo -->\n```\n(.*?)```\n<!-- \/demo -->/s.exec(read('README.md'))!
  const { stdout } = await promisify(execFile)('npm', ['run', '--silent', 'demo'], { cwd: fileURLToPath(root) }).catch(
    (failed: { stdout: string }) => failed
  )
  const withoutNumbers = (text: string) => text.replace(/127\.0\.0\.1:\d+/, 'PORT').replace(/in [\d.]+ ms/, 'TIME')
  t.equal(withoutNumbers(stdout), withoutNumbers(told!))
})

t.test('no document is a wall: pages for people stay short', async t => {
  const long = pages.filter(page => page !== 'docs/api.md' && statSync(new URL(page, root)).size > 25_000)
  t.strictSame(long, [])
})
