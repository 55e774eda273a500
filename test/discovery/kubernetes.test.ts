import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { kubernetesDiscovery } from '../../src/discovery/kubernetes.js'
import { editKubeconfig, json, startApiServer, status } from '../support/api-server.js'
import { until, watchLooks } from '../support/looks.js'

type Options = Partial<Parameters<typeof kubernetesDiscovery>[0]>
type Server = Awaited<ReturnType<typeof startApiServer>>

const hook = { type: 'webhook', url: 'http://127.0.0.1:1/' }

function open(t: Test, options: Options = {}) {
  const looks = watchLooks()
  const all = { namespaces: [], labelSelector: 'publishing-target=true', refreshIntervalMs: 60_000, ...options }
  const discovery = kubernetesDiscovery(all, looks.events)
  const started = discovery.start(looks.found)
  started.catch(() => {})
  t.teardown(() => discovery.stop())
  const errors = () => looks.reports.filter(report => report.error !== undefined)
  return { ...looks, discovery, started, errors }
}

async function started(t: Test, server: Server, options: Options = {}) {
  const opened = open(t, options)
  await opened.started
  await until('the watch is open', () => server.watchers() > 0)
  return opened
}

t.test('the own namespace is listed by label, then watched from the version of the list', async t => {
  const server = await startApiServer(t)
  server.apply('a', hook)
  server.apply('unlabelled', hook, { labels: {} })
  server.apply('elsewhere', hook, { namespace: 'other' })
  const { names, latest } = await started(t, server)
  t.strictSame(names(), ['a'])
  t.strictSame(latest().invalid, [])
  t.strictSame(server.requests, [
    'GET /api/v1/namespaces/ops/secrets?labelSelector=publishing-target%3Dtrue&limit=100',
    'GET /api/v1/namespaces/ops/secrets?labelSelector=publishing-target%3Dtrue&watch=true&allowWatchBookmarks=true&resourceVersion=103&timeoutSeconds=290'
  ])
})

t.test('a Secret that appears, changes or goes is live at once, by the watch alone', async t => {
  const server = await startApiServer(t)
  server.apply('a', hook)
  const { names, latest } = await started(t, server)
  server.apply('b', hook)
  await until('b is there', () => names().join() === 'a,b')
  const [a, b] = latest().targets
  server.apply('b', { ...hook, url: 'http://127.0.0.1:2/' })
  await until('b is another', () => latest().targets[1] !== b)
  server.remove('b')
  await until('b is gone', () => names().join() === 'a')
  t.equal(latest().targets[0], a, 'what did not change is the same object')
  t.equal(server.requests.length, 2, 'one list and one watch')
})

t.test('all namespaces are looked at together', async t => {
  const server = await startApiServer(t)
  server.apply('a', hook)
  server.apply('b', hook, { namespace: 'other' })
  const { names } = await started(t, server, { namespaces: ['ops', '*'] })
  t.strictSame(names(), ['a', 'b'])
  t.match(server.requests[0], /^GET \/api\/v1\/secrets\?/)
})

t.test('several namespaces are looked at apart', async t => {
  const server = await startApiServer(t)
  server.apply('a', hook)
  server.apply('b', hook, { namespace: 'other' })
  const { names } = await started(t, server, { namespaces: ['ops', 'other', 'ops'] })
  await until('both watches are open', () => server.watchers() === 2)
  t.strictSame(names(), ['a', 'b'])
  server.remove('b', 'other')
  await until('b is gone', () => names().join() === 'a')
})

t.test('a namespace that may not be read hides none of the others, and is found once it may', async t => {
  const server = await startApiServer(t)
  server.apply('a', hook)
  server.apply('b', hook, { namespace: 'other' })
  server.faults.intercept = (url, response) => {
    if (!url.pathname.includes('/other/')) return false
    status(response, 403)
    return true
  }
  const { names, errors } = await started(t, server, { namespaces: ['ops', 'other'] })
  t.strictSame(names(), ['a'])
  t.match(errors()[0], {
    operation: 'list',
    error: 'forbidden',
    message: /^namespace other: the API server answered 403; next try at 20/
  })
  server.faults.intercept = undefined
  await until('b is there', () => names().join() === 'a,b')
})

t.test('a list of several pages is one picture', async t => {
  const server = await startApiServer(t)
  for (let i = 0; i < 250; i++) server.apply(`t${i}`, hook)
  const { latest, snapshots } = await started(t, server)
  t.equal(latest().targets.length, 250)
  t.equal(snapshots.length, 1)
  t.equal(server.requests.filter(request => request.includes('continue=')).length, 2)
})

t.test('a continue token that grew too old leads to one unpaged list', async t => {
  const server = await startApiServer(t)
  for (let i = 0; i < 101; i++) server.apply(`t${i}`, hook)
  server.expireTokens()
  const { latest, errors } = await started(t, server)
  t.equal(latest().targets.length, 101)
  t.strictSame(errors(), [])
  t.equal(server.requests.filter(request => !request.includes('limit=') && !request.includes('watch=')).length, 1)
})

t.test('a watch that the server ends is begun anew from the last bookmark', async t => {
  const server = await startApiServer(t)
  const { names, errors } = await started(t, server)
  server.bookmark()
  await sleep(1_100)
  server.endWatches()
  await until('it is watched again', () => server.requests.length === 3)
  t.match(server.requests[2], /watch=true.*resourceVersion=101/)
  server.apply('a', hook)
  await until('a is there', () => names().join() === 'a')
  t.strictSame(errors(), [])
})

t.test('what changes while a watch is broken is not missed', async t => {
  const server = await startApiServer(t)
  const { names } = await started(t, server)
  server.breakConnections()
  server.apply('a', hook)
  await until('a is there', () => names().join() === 'a')
})

t.test('a watch that works again is told before it ends', async t => {
  const server = await startApiServer(t)
  const { reports } = await started(t, server)
  server.breakConnections()
  await until('it failed', () => reports.some(({ operation, error }) => operation === 'watch' && error !== undefined))
  await until('it works', () => reports.at(-1)?.error === undefined)
  t.match(reports.at(-1), { operation: 'watch', message: undefined })
  t.equal(server.watchers(), 1)
})

for (const how of ['as an event of the watch', 'as a status'] as const) {
  t.test(`a version that is too old, told ${how}, leads to a new list`, async t => {
    const server = await startApiServer(t)
    server.apply('a', hook)
    server.apply('b', hook)
    const { names, errors } = await started(t, server)
    if (how === 'as a status') {
      server.faults.intercept = (url, response) => {
        if (!url.searchParams.has('watch')) return false
        server.faults.intercept = undefined
        status(response, 410)
        return true
      }
    }
    server.apply('unseen', hook, { labels: {} })
    server.compact()
    server.breakConnections()
    server.remove('b')
    server.compact()
    await until('b is gone', () => names().join() === 'a')
    await until('it is watched again', () => server.watchers() === 1)
    t.ok(errors().some(({ operation, error }) => operation === 'watch' && error === 'gone'))
    t.equal(server.requests.filter(request => request.includes('limit=')).length, 2)
  })
}

t.test('a watch that is cut into single bytes, pauses and blank lines is understood', async t => {
  const server = await startApiServer(t)
  const { latest } = await started(t, server)
  const headers = Buffer.from('X-Team: Ärger').toString('base64')
  const data = { type: 'd2ViaG9vaw==', url: 'aHR0cDovLzEyNy4wLjAuMToxLw==', headers }
  const metadata = {
    name: 'a',
    namespace: 'ops',
    uid: 'u',
    resourceVersion: '200',
    creationTimestamp: '2026-01-01T00:00:00Z',
    annotations: { note: 'Ärger 🙂' }
  }
  for (const byte of Buffer.from(
    `\n\n${JSON.stringify({ type: 'ADDED', object: { kind: 'Secret', metadata, data } })}\n`
  )) {
    server.utter(Buffer.of(byte))
    if (byte > 127) await sleep(1)
  }
  await until('a is there', () => latest().targets.length === 1)
  t.equal(latest().targets[0]?.settings.headers?.['X-Team']?.reveal(), 'Ärger')
})

for (const garbage of [
  '<html>\n',
  '{"type":"ADDED","object":{"kind":"Secret"}}\n',
  'null\n',
  '{"type":"BOOKMARK"}\n',
  '{"type":"HELLO","object":{}}\n'
]) {
  t.test(`after ${garbage.trim()} in a watch a list tells what it hid`, async t => {
    const server = await startApiServer(t)
    server.apply('a', hook)
    const { names, errors } = await started(t, server)
    server.utter(garbage)
    await until('it is told', () => errors().length > 0)
    t.match(errors()[0], { operation: 'watch', error: 'invalid' })
    await until('it is listed again', () => server.requests.filter(request => request.includes('limit=')).length === 2)
    t.strictSame(names(), ['a'])
  })
}

const outages: [what: string, error: string, answer: Parameters<typeof status>[1] | string][] = [
  ['401', 'forbidden', 401],
  ['403', 'forbidden', 403],
  ['404', 'other', 404],
  ['500', 'other', 500],
  ['503', 'other', 503],
  ['a page of HTML', 'invalid', '<html>topsecret</html>'],
  ['an empty object', 'invalid', '{}'],
  ['a list without a version', 'invalid', '{"items":[],"metadata":{}}'],
  ['a list of something else', 'invalid', '{"items":[{"topsecret":1}],"metadata":{"resourceVersion":"1"}}'],
  ['half of an answer', 'unreachable', 'half'],
  ['a broken connection', 'unreachable', 'break']
]
for (const [what, error, answer] of outages) {
  t.test(
    `an API server that answers ${what} leaves the targets as they are, and is tried until it is back`,
    async t => {
      const server = await startApiServer(t)
      server.apply('a', hook)
      const { names, errors, discovery, snapshots, reports } = await started(t, server)
      server.faults.intercept = (_url, response, request) => {
        if (typeof answer === 'number') status(response, answer)
        else if (answer === 'break') request.socket.destroy()
        else if (answer === 'half')
          response.writeHead(200, { 'content-length': '100' }).write('{"items":[]', () => request.socket.destroy())
        else response.writeHead(200).end(answer)
        return true
      }
      server.breakConnections()
      await t.rejects(discovery.refresh())
      t.ok(errors().some(report => report.operation === 'list' && report.error === error))
      t.strictSame(names(), ['a'])
      t.ok(snapshots.every(({ targets }) => targets.length === 1))
      server.faults.intercept = undefined
      server.apply('b', hook)
      await until('b is there', () => names().join() === 'a,b')
      t.notMatch(JSON.stringify(reports), 'topsecret')
    }
  )
}

t.test('an API server that was never there is waited for', async t => {
  const server = await startApiServer(t)
  server.apply('a', hook)
  server.faults.intercept = (_url, _response, request) => {
    request.socket.destroy()
    return true
  }
  const { started, snapshots, errors } = open(t)
  await until('it was tried twice', () => errors().length >= 2)
  t.strictSame(snapshots, [])
  server.faults.intercept = undefined
  await started
  t.equal(snapshots.length, 1)
})

t.test('retries wait longer and longer, and a Retry-After is kept to', async t => {
  const server = await startApiServer(t)
  const times: number[] = []
  server.faults.intercept = (_url, response) => {
    times.push(Date.now())
    status(response, 429, { 'retry-after': '1' })
    return true
  }
  const { errors } = open(t)
  await until('it was tried twice', () => times.length === 2)
  // A timer may be a little ahead of the clock.
  t.ok(times[1]! - times[0]! > 950)
  t.match(errors()[0], { error: 'other', message: /^namespace ops: the API server answered 429; next try at / })
})

t.test('a server that ends every watch at once is not hammered', async t => {
  const server = await startApiServer(t)
  server.faults.intercept = (url, response) => {
    if (!url.searchParams.has('watch')) return false
    response.writeHead(200).end()
    return true
  }
  const { started, errors } = open(t)
  await started
  await sleep(1_000)
  t.ok(server.requests.length <= 8, `${server.requests.length} requests in a second`)
  t.match(errors()[0], { operation: 'watch', error: 'other' })
})

t.test('everything is listed again at every interval', async t => {
  const server = await startApiServer(t)
  server.apply('a', hook)
  const { reports, latest, errors } = await started(t, server, { refreshIntervalMs: 100 })
  const [a] = latest().targets
  await until('it was listed three times', () => reports.filter(({ operation }) => operation === 'list').length >= 3)
  t.equal(latest().targets[0], a)
  t.strictSame(errors(), [])
})

t.test('a refresh lists at once, and its picture is there when it is over', async t => {
  const server = await startApiServer(t)
  const { discovery, snapshots } = await started(t, server)
  await Promise.all([discovery.refresh(), discovery.refresh()])
  t.equal(server.requests.filter(request => request.includes('limit=')).length, 2)
  t.ok(snapshots.length >= 2)
})

t.test('a failing list does not stop the watch', async t => {
  const server = await startApiServer(t)
  const { discovery, names } = await started(t, server)
  server.faults.intercept = (url, response) => {
    if (url.searchParams.has('watch')) return false
    status(response, 500, { 'retry-after': '60' })
    return true
  }
  await t.rejects(discovery.refresh(), { message: 'namespace ops: the API server answered 500' })
  server.apply('a', hook)
  await until('a is there', () => names().join() === 'a')
})

t.test('an invalid Secret is told with its reason, and an Event is written on it once', async t => {
  const server = await startApiServer(t)
  server.apply('good', hook)
  server.apply('bad', { type: 'webhook', url: 'topsecret', timeout: 'topsecret' })
  const { names, latest, discovery, reports } = await started(t, server)
  t.strictSame(names(), ['good'])
  t.match(latest().invalid, [{ source: 'Secret ops/bad', name: 'bad', stale: false, problems: [{ field: 'timeout' }] }])
  await until('the Event is written', () => server.posted.length === 1)
  await discovery.refresh()
  t.equal(server.posted.length, 1)
  t.match(server.posted[0], {
    path: '/api/v1/namespaces/ops/events',
    body: {
      type: 'Warning',
      reason: 'InvalidTarget',
      message: /^Not a valid target: timeout is not a duration/,
      involvedObject: { kind: 'Secret', namespace: 'ops', name: 'bad', uid: 'uid-102', resourceVersion: '102' }
    }
  })
  server.apply('bad', { type: 'pigeon' })
  await until('the next Event is written', () => server.posted.length === 2)
  t.equal(server.requests.filter(request => request.startsWith('POST')).length, 2)
  t.notMatch(JSON.stringify([server.posted, latest().invalid, reports]), 'topsecret')
})

t.test('an Event that cannot be written is no harm', async t => {
  const server = await startApiServer(t)
  server.faults.intercept = (url, response) => {
    if (!url.pathname.endsWith('/events')) return false
    status(response, 403)
    return true
  }
  server.apply('bad', { type: 'pigeon' })
  const { names, errors } = await started(t, server)
  await until('it was tried', () => server.requests.some(request => request.startsWith('POST')))
  server.apply('good', hook)
  await until('good is there', () => names().join() === 'good')
  t.strictSame(errors(), [])
})

t.test('a Secret that becomes invalid keeps its last valid version until it is deleted', async t => {
  const server = await startApiServer(t)
  server.apply('a', hook)
  const { latest, names, discovery } = await started(t, server)
  const [a] = latest().targets
  server.apply('a', { type: 'webhook', url: '' })
  await until('it is told', () => latest().invalid.length === 1)
  t.match(latest().invalid, [{ source: 'Secret ops/a', name: 'a', stale: true }])
  t.equal(latest().targets[0], a)
  await discovery.refresh()
  t.equal(latest().targets[0], a)
  await until('the Event is written', () => server.posted.length === 1)
  t.match(server.posted[0]?.body.message, /\(its last valid version stays in use\)$/)
  server.remove('a')
  await until('it is gone', () => names().length === 0)
  t.strictSame(latest().invalid, [])
})

t.test('of two Secrets with one name the older one is the target', async t => {
  const server = await startApiServer(t)
  server.apply('b-younger', { ...hook, name: 'ops' }, { created: '2026-01-02T00:00:00Z' })
  server.apply('z-older', { ...hook, name: 'ops', url: 'http://127.0.0.1:2/' }, { created: '2026-01-01T00:00:00Z' })
  const { names, latest } = await started(t, server)
  t.strictSame(names(), ['ops'])
  t.match(latest().invalid, [
    { source: 'Secret ops/b-younger', name: 'ops', stale: false, problems: [{ message: 'duplicate name' }] }
  ])
  server.remove('z-older')
  await until('the younger one takes over', () => latest().invalid.length === 0)
  t.strictSame(names(), ['ops'])
})

t.test('a certificate that nobody vouches for is not trusted', async t => {
  const server = await startApiServer(t)
  editKubeconfig(text => text.replace(/,"certificate-authority-data":"[^"]*"/, ''))
  const { errors } = open(t)
  await until('it is told', () => errors().length > 0)
  t.match(errors()[0], {
    error: 'unreachable',
    message: /the API server cannot be reached \(DEPTH_ZERO_SELF_SIGNED_CERT\)/
  })
  t.strictSame(server.requests, [])
})

for (const [what, message, spoil] of [
  ['not there', 'the kubeconfig cannot be loaded (ENOENT)', () => rmSync(process.env.KUBECONFIG!)],
  ['no YAML', 'the kubeconfig cannot be loaded (YAMLException)', () => editKubeconfig(() => 'users: [topsecret')],
  [
    'empty',
    'the kubeconfig names no API server',
    () => editKubeconfig(() => '{"clusters":[],"users":[],"contexts":[]}')
  ]
] as const) {
  t.test(`a kubeconfig that is ${what} is told without quoting it, and tried until it can be used`, async t => {
    const server = await startApiServer(t)
    server.apply('a', hook)
    const file = process.env.KUBECONFIG!
    const whole = readFileSync(file, 'utf8')
    spoil()
    const { discovery, started, reports, names } = open(t)
    await until('it was tried twice', () => reports.length === 2)
    for (const report of reports) {
      t.match(report, { operation: 'list', error: 'invalid' })
      t.match(report.message, new RegExp(`^${message.replace(/[()]/g, '\\$&')}; next try at 20`))
    }
    await t.rejects(discovery.refresh(), { message })
    writeFileSync(file, whole)
    await discovery.refresh()
    await started
    t.strictSame(names(), ['a'])
    await until('one watch is open', () => server.watchers() === 1)
  })
}

t.test('a kubeconfig that comes late is found without being asked', async t => {
  const server = await startApiServer(t)
  server.apply('a', hook)
  const file = process.env.KUBECONFIG!
  renameSync(file, `${file}.late`)
  const { started, reports, names } = open(t)
  await until('it is told', () => reports.length === 1)
  renameSync(`${file}.late`, file)
  await started
  t.strictSame(names(), ['a'])
})

t.test('without a kubeconfig and a service account nothing is asked', async t => {
  await startApiServer(t)
  const { HOME: home, KUBECONFIG: file } = process.env
  t.teardown(() => void Object.assign(process.env, { HOME: home, KUBECONFIG: file }))
  delete process.env.KUBECONFIG
  process.env.HOME = t.testdir()
  const { reports, discovery, started } = open(t)
  await until('it is told', () => reports.length === 1)
  t.match(reports[0], { error: 'invalid', message: /^there is no kubeconfig and no service account; next try at / })
  await discovery.stop()
  await t.rejects(started, { message: 'discovery was stopped' })
})

t.test('once stopped it looks no more, and a start that was under way is over', async t => {
  const server = await startApiServer(t)
  const running = await started(t, server)
  await running.discovery.stop()
  await until('the watch is closed', () => server.watchers() === 0)
  server.faults.intercept = (_url, response) => {
    json(response, 500, {})
    return true
  }
  const waiting = open(t)
  await until('it was tried', () => waiting.errors().length > 0)
  await waiting.discovery.stop()
  await t.rejects(waiting.started, { message: 'discovery was stopped' })
  const asked = server.requests.length
  await sleep(700)
  t.equal(server.requests.length, asked)
})
