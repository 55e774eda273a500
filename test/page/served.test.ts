import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { noRetry, oneAlert, publishPaths, startTestService } from '../support/service.js'
import { startStandIn } from '../support/stand-in.js'

const tokens = 'look:read:look-token\nact:admin:act-token\nsend:publish:send-token\n'

/** A service with tokens, that owes one alert to a target that is down. */
async function guarded(t: Parameters<typeof startTestService>[0]) {
  const hook = await startStandIn(t, { status: 503 })
  const file = join(t.testdir(), 'tokens')
  await writeFile(file, tokens)
  const targets = [{ name: 'secret-hook', type: 'webhook', url: hook.url }]
  const service = await startTestService(t, { targets, env: { API_TOKENS_FILE: file, ...noRetry } })
  await service.post(publishPaths.all, oneAlert('SecretAlert'), { authorization: 'Bearer act-token' })
  return service
}

t.test('the page, its script, its style and its icons are served with what a browser needs to be strict', async t => {
  const service = await startTestService(t, {})
  const page = await service.get('/')
  t.equal(page.status, 200)
  t.match(Object.fromEntries(page.headers), {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy':
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': 'no-store'
  })
  const linked = [...page.text.matchAll(/(?:href|src)="(\/page[^"]*)"/g)].map(([, path]) => path!)
  const answers = await Promise.all(linked.map(path => service.get(path)))
  t.same(
    answers.map(({ status, headers }, index) => [
      linked[index]?.replace(/\?v=[0-9a-f]{12}$/, ''),
      status,
      headers.get('content-type'),
      headers.get('cache-control')
    ]),
    [
      ['/page/lost.svg', 200, 'image/svg+xml; charset=utf-8', 'public, max-age=31536000, immutable'],
      ['/page.css', 200, 'text/css; charset=utf-8', 'public, max-age=31536000, immutable'],
      ['/page.js', 200, 'text/javascript; charset=utf-8', 'public, max-age=31536000, immutable']
    ]
  )
  t.equal((await service.get('/page/none-such.svg')).status, 404)
})

t.test('no alert can put markup into the page, whichever of its texts it uses', async t => {
  const hook = await startStandIn(t, { status: 503 })
  const refusing = await startStandIn(t, { status: 400 })
  const targets = [
    { name: 'hook', type: 'webhook', url: hook.url },
    { name: 'refusing', type: 'webhook', url: refusing.url }
  ]
  const service = await startTestService(t, { targets, env: noRetry })
  const hostile = `"'><img src=x onerror=alert(1)><script>alert(2)</script>\u202e`
  await service.post(publishPaths.all, {
    alert: {
      status: 'firing',
      labels: { alertname: hostile, severity: hostile },
      annotations: { summary: hostile, runbook_url: `javascript:alert("${hostile}")`, dashboard_url: hostile },
      generator_url: `https://example.com/${encodeURIComponent(hostile)}?"onmouseover="alert(3)`
    }
  })
  const { text } = await service.get('/')
  t.match(text, /1 alert is owed to hook/)
  t.match(text, /given up for refusing/)
  t.notMatch(text, /<img|<script>|javascript:|"onmouseover/)
})

t.test('an alert of megabytes does not make a page of megabytes', async t => {
  const hook = await startStandIn(t, { status: 503 })
  const targets = [{ name: 'hook', type: 'webhook', url: hook.url }]
  const service = await startTestService(t, { targets, env: noRetry })
  const huge = 'x'.repeat(1_000_000)
  await service.post(publishPaths.all, oneAlert(huge, { annotations: { summary: huge } }))
  t.ok((await service.get('/')).text.length < 20_000)
})

t.test('with tokens set, whoever shows none sees the way in and nothing else', async t => {
  const service = await guarded(t)
  const { status, text } = await service.get('/')
  t.equal(status, 200)
  t.match(text, '<form id="sign-in"')
  t.notMatch(text, /secret-hook|SecretAlert|owed|embedded|0\.1\.0/)
})

t.test('a token that may not read is refused, without data', async t => {
  const service = await guarded(t)
  const answers = await Promise.all(
    ['wrong', 'send-token'].map(token => service.get('/', { authorization: `Bearer ${token}` }))
  )
  t.same(
    answers.map(({ status, body }) => [status, body.code]),
    [
      [401, 'UNAUTHORIZED'],
      [403, 'FORBIDDEN']
    ]
  )
})

t.test('a read token shows the state without buttons, an admin token with them', async t => {
  const service = await guarded(t)
  const [look, act] = await Promise.all(
    ['look-token', 'act-token'].map(token => service.get('/', { authorization: `Bearer ${token}` }))
  )
  for (const page of [look!, act!]) t.match(page.text, /1 alert is owed to secret-hook: Webhook answered 503/)
  t.notMatch(look!.text, 'data-does')
  t.match(act!.text, 'data-does="test"')
})

t.test('with a thousand targets the page shows those in trouble, and stays small', async t => {
  const hook = await startStandIn(t)
  const down = await startStandIn(t, { status: 401 })
  const targets = Array.from({ length: 1_000 }, (_, index) => ({
    name: `hook-${index}`,
    type: 'webhook',
    url: index === 987 ? down.url : hook.url
  }))
  const service = await startTestService(t, { targets })
  await service.post(publishPaths.named, { ...oneAlert(), target_names: ['hook-987', 'hook-3'] })
  const { text } = await service.get('/')
  const rows = [...text.matchAll(/id="target-([^"]+)"/g)].map(([, name]) => name)
  t.equal(rows.length, 100)
  t.equal(rows[0], 'hook-987')
  t.match(text, /900 more targets that are no worse/)
  t.ok(text.length < 250_000)
})

t.test('a queue that is off is told, and what nobody keeps as well', async t => {
  const hook = await startStandIn(t, { status: 503 })
  const targets = [{ name: 'hook', type: 'webhook', url: hook.url }]
  const service = await startTestService(t, { targets, env: { QUEUE: 'off' } })
  await service.post(publishPaths.all, oneAlert())
  const { text } = await service.get('/')
  t.match(text, 'hook did not take the last alert, and nobody keeps it: Webhook answered 503')
  t.match(text, 'Queue: off')
})
