import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { oneAlert, publishPaths, startTestService } from '../support/service.js'
import { startStandIn } from '../support/stand-in.js'

function tokensFile(t: Test, text: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'tokens-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'tokens')
  writeFileSync(file, text)
  return file
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** Every route, and the roles that may use it besides admin. */
const routes: [method: string, path: string, roles: string[]][] = [
  ['POST', publishPaths.named, ['publish']],
  ['POST', publishPaths.all, ['publish']],
  ['POST', publishPaths.healthy, ['publish']],
  ['POST', publishPaths.explain, ['publish']],
  ['GET', '/status', ['read']],
  ['GET', '/api/v1/publish/parallel/status', ['read']],
  ['GET', '/api/v1/targets', ['read']],
  ['GET', '/api/v1/targets/hook', ['read']],
  ['GET', '/api/v1/targets/health', ['read']],
  ['GET', '/api/v1/targets/hook/health', ['read']],
  ['POST', '/api/v1/targets/hook/check', []],
  ['POST', '/api/v1/targets/hook/test', []],
  ['POST', '/api/v1/targets/hook/circuit/reset', []],
  ['POST', '/api/v1/targets/refresh', []],
  ['GET', '/api/v1/deliveries', ['read']],
  ['GET', '/api/v1/deliveries/x', ['read']],
  ['GET', '/api/v1/queue', ['read']],
  ['GET', '/api/v1/queue/x', ['read']],
  ['GET', '/api/v1/dead-letters', ['read']],
  ['GET', '/api/v1/dead-letters/x', ['read']],
  ['POST', '/api/v1/dead-letters/x/replay', []],
  ['POST', '/api/v1/dead-letters/replay', []],
  ['DELETE', '/api/v1/dead-letters/x', []],
  ['DELETE', '/api/v1/dead-letters?older_than=1h', []],
  ['GET', '/api/v1/stats', ['read']],
  ['GET', '/api/v1/stats/history', ['read']],
  ['POST', '/api/v1/stats/reset', []],
  ['GET', '/api/v1/publishing/mode', ['read']]
]
const open = ['/', '/docs', '/healthz', '/readyz', '/metrics', '/openapi.json', '/openapi.yaml']

t.test('with tokens each route takes those that its role allows, and no other', async t => {
  const hook = await startStandIn(t)
  const file = tokensFile(t, '# comment\n\nam:publish:token-p\nviewer:read:token-r\nops:admin:token-a\n')
  const service = await startTestService(t, {
    env: { API_TOKENS_FILE: file },
    targets: [{ name: 'hook', type: 'webhook', url: hook.url }]
  })
  for (const [method, path, roles] of routes) {
    const statusWith = async (headers: Record<string, string>) => (await service.send(method, path, headers)).status
    const none = await service.send(method, path)
    t.equal(none.status, 401, `${method} ${path}`)
    t.match(none.body, { statusCode: 401, code: 'UNAUTHORIZED' })
    t.equal(none.headers.get('www-authenticate'), 'Bearer')
    t.equal(await statusWith(bearer('wrong')), 401)
    t.equal(await statusWith({ authorization: 'Basic dG9rZW4tYTo=' }), 401)
    for (const [role, token] of [
      ['publish', 'token-p'],
      ['read', 'token-r']
    ] as const) {
      const status = await statusWith(bearer(token))
      if (roles.includes(role)) t.notOk([401, 403].includes(status), `${role} may ${method} ${path}: ${status}`)
      else t.equal(status, 403, `${role} may not ${method} ${path}`)
    }
    t.notOk([401, 403].includes(await statusWith(bearer('token-a'))), `admin may ${method} ${path}`)
  }
  for (const path of open) t.equal((await service.get(path)).status, 200, path)
  t.equal((await service.post('/api/v1/publish/paralel', oneAlert(), bearer('token-p'))).status, 404, 'a mistyped path')
  t.equal((await service.post(publishPaths.all, oneAlert(), bearer('token-p'))).status, 200)
  t.equal((await service.post(publishPaths.all, oneAlert('B'), { authorization: 'bearer   token-p' })).status, 200)
})

t.test('every route that the API describes is held to a role', async t => {
  const service = await startTestService(t, {})
  const { paths, components } = (await service.get('/openapi.json')).body
  const operations = Object.entries<Record<string, { responses: object }>>(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { responses }]) => ({
      route: `${method.toUpperCase()} ${path.replace(/\{[^}]+\}/g, '*')}`,
      refusals: ['401', '403'].filter(status => status in responses)
    }))
  )
  const described = operations.map(({ route }) => route)
  const known = routes.map(
    ([method, path]) => `${method} ${path.replace(/\?.*/, '').replace(/\/(hook|x)(?=\/|$)/, '/*')}`
  )
  const free = described.filter(route => !known.includes(route))
  t.same(
    free.filter(route => !open.some(path => route === `GET ${path}`)),
    [],
    'no route is left out of the test above'
  )
  for (const { route, refusals } of operations) t.same(refusals, free.includes(route) ? [] : ['401', '403'], route)
  t.match(components.responses, { 401: { description: /token/ }, 403: { description: /role/ } }, 'what they refer to')
})

t.test('the body of a caller without a valid token is not read', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { API_TOKENS_FILE: tokensFile(t, 'am:publish:token-p'), BODY_LIMIT: '1KiB' },
    targets: [{ name: 'hook', type: 'webhook', url: hook.url }]
  })
  const large = 'x'.repeat(100_000)
  t.equal((await service.post(publishPaths.all, large)).status, 401)
  t.equal((await service.post(publishPaths.all, large, bearer('token-p'))).status, 413)
  t.same(hook.requests, [])
})

t.test('requests that a browser sends for another site change nothing', async t => {
  const service = await startTestService(t, { targets: [{ name: 'hook', type: 'webhook', url: 'http://127.0.0.1:9' }] })
  const from = (site: string) => ({ 'sec-fetch-site': site })
  for (const path of [publishPaths.all, '/api/v1/targets/hook/test', '/api/v1/dead-letters/replay']) {
    const { status, body } = await service.post(path, oneAlert(), from('cross-site'))
    t.equal(status, 403, path)
    t.match(body, { code: 'FORBIDDEN' })
  }
  t.equal((await service.send('DELETE', '/api/v1/dead-letters/x', from('cross-site'))).status, 403)
  t.equal((await service.post('/api/v1/targets/hook/circuit/reset', {}, from('same-origin'))).status, 200)
  t.equal((await service.get('/status', from('cross-site'))).status, 200)
  // Over plain HTTP browsers say only where the page is from.
  const reset = (headers: Record<string, string>) =>
    service.post('/api/v1/targets/hook/circuit/reset', {}, headers).then(({ status }) => status)
  const { host, origin } = new URL(service.url)
  t.equal(await reset({ origin }), 200)
  t.equal(await reset({ origin: `https://${host}` }), 200, 'a proxy that ends TLS')
  t.equal(await reset({ origin: 'https://fanout.example.com', 'x-forwarded-host': 'fanout.example.com, proxy' }), 200)
  for (const other of ['http://evil.example.com', `http://evil.example.com:${new URL(origin).port}`, 'null', ''])
    t.equal(await reset({ origin: other }), 403, other)
  t.equal(await reset({ origin: 'http://evil.example.com', 'sec-fetch-site': 'cross-site' }), 403)
  const { headers } = await service.get('/status', { origin: 'http://evil.example.com' })
  t.equal(headers.get('access-control-allow-origin'), null)
  t.equal(headers.get('x-content-type-options'), 'nosniff')
})

t.test('a tokens file that is wrong stops the start, and its tokens are not shown', async t => {
  for (const [text, problem] of [
    ['', /has no token/],
    ['am:publish', /line 1 is not name:role:token/],
    ['am:publish:good\nam:boss:SECRET-TOKEN', /line 2 has an unknown role/]
  ] as const) {
    const error = await startTestService(t, { env: { API_TOKENS_FILE: tokensFile(t, text) } }).catch(error => error)
    t.match(error.message, problem)
    t.notMatch(error.message, 'SECRET-TOKEN')
  }
  const gone = await startTestService(t, { env: { API_TOKENS_FILE: '/nonexistent/tokens' } }).catch(error => error)
  t.equal(gone.message, 'API_TOKENS_FILE cannot be read: there is no such file')
})

t.test('without tokens everything is open, which is said loudly', async t => {
  const service = await startTestService(t, { env: { LOG_LEVEL: 'warn' } })
  t.ok(service.logs.some(({ msg }) => /API_TOKENS_FILE is not set/.test(String(msg))))
  t.equal((await service.get('/status')).status, 200)
})
