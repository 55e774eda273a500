import t from 'tap'
import {
  alertmanagerBody,
  noRetry,
  oneAlert,
  publishPaths,
  startTestService,
  steady,
  steadyTarget
} from '../support/service.js'
import { nobodyThere, startStandIn } from '../support/stand-in.js'

const webhook = (name: string, url: string, more: object = {}) => ({ name, type: 'webhook', url, ...more })

for (const queue of ['off', 'embedded']) {
  const owned = queue !== 'off'
  const env = { QUEUE: queue }

  t.test(
    `QUEUE=${queue}: when every target has it, the answer is 200 and tells of each in the order of their names`,
    async t => {
      const hook = await startStandIn(t)
      const slack = await startStandIn(t, { body: 'ok' })
      const service = await startTestService(t, {
        env,
        targets: [
          { name: 'slack-ops', type: 'slack', url: `${slack.url}/services/T/B/X` },
          webhook('hook', `${hook.url}/in`)
        ]
      })
      const { status, headers, body } = await service.post(publishPaths.all, oneAlert())
      t.equal(status, 200)
      t.equal(headers.get('content-type'), 'application/json; charset=utf-8')
      t.same(steady(body), {
        publish_id: 'string',
        success: true,
        is_partial_success: false,
        all_succeeded: true,
        all_failed: false,
        total_targets: 2,
        success_count: 2,
        failure_count: 0,
        skipped_count: 0,
        queued_count: 0,
        success_rate: 100,
        duration_ms: 'number',
        results: [
          result('hook', 'webhook', { success: true, status_code: 200 }),
          result('slack-ops', 'slack', { success: true, status_code: 200 })
        ]
      })
      t.equal(hook.requests.length, 1)
      t.equal(slack.requests.length, 1)
    }
  )

  t.test(
    `QUEUE=${queue}: named targets are asked for in the body or in the query, and told of in that order`,
    async t => {
      const hook = await startStandIn(t)
      const targets = ['a', 'b', 'c'].map(name => webhook(name, `${hook.url}/${name}`))
      const service = await startTestService(t, { env, targets })
      const named = await service.post(publishPaths.named, { ...oneAlert('One'), target_names: ['c', 'a', 'c'] })
      t.equal(named.status, 200)
      t.same(namesIn(named.body), ['c', 'a'])
      const queried = await service.post(`${publishPaths.named}?target=b&target=a`, alertmanagerBody())
      t.equal(queried.status, 200)
      t.same(namesIn(queried.body), ['b', 'a'])
      t.same(hook.requests.map(({ path }) => path).sort(), ['/a', '/a', '/b', '/c'])
    }
  )

  t.test(`QUEUE=${queue}: names narrow what all and healthy reach, and unknown ones are told there, too`, async t => {
    const hook = await startStandIn(t)
    const targets = ['a', 'b', 'c'].map(name => webhook(name, `${hook.url}/${name}`))
    const service = await startTestService(t, { env, targets })
    for (const path of [publishPaths.all, publishPaths.healthy]) {
      const { status, body } = await service.post(path, { ...oneAlert(path), target_names: ['c', 'nobody', 'a'] })
      t.equal(status, 207)
      t.same(namesIn(body), ['c', 'nobody', 'a'])
      t.match(body.results[1], { success: false, error_reason: 'target_not_found' })
      const nobody = await service.post(path, { ...oneAlert(`none ${path}`), target_names: ['nobody'] })
      t.equal(nobody.status, 404)
      t.match(nobody.body, { code: 'TARGET_NOT_FOUND' })
      const empty = await service.post(path, { ...oneAlert(`empty ${path}`), target_names: [] })
      t.equal(empty.status, 400)
      t.match(empty.body.details, [{ field: 'target_names', message: 'is empty' }])
    }
    t.equal(hook.requests.length, 4)
  })

  t.test(`QUEUE=${queue}: an unknown name is a failed result beside the others`, async t => {
    const hook = await startStandIn(t)
    const service = await startTestService(t, { env, targets: [webhook('hook', hook.url)] })
    const { status, body } = await service.post(publishPaths.named, { ...oneAlert(), target_names: ['nobody', 'hook'] })
    t.equal(status, 207)
    t.match(body, { success: true, is_partial_success: true, success_rate: 50, failure_count: 1 })
    t.same(body.results.map(steadyTarget), [
      {
        target_name: 'nobody',
        success: false,
        skipped: false,
        error: 'no target has this name',
        error_type: 'configuration',
        error_reason: 'target_not_found',
        attempts: 0,
        duration_ms: 'number'
      },
      result('hook', 'webhook', { success: true, status_code: 200 })
    ])
  })

  t.test(`QUEUE=${queue}: when no name is known, the answer is 404`, async t => {
    const service = await startTestService(t, { env })
    const { status, body, text } = await service.post(publishPaths.named, { ...oneAlert(), target_names: ['x', 'y'] })
    t.equal(status, 404)
    t.match(body, { statusCode: 404, code: 'TARGET_NOT_FOUND', error: 'Not Found', all_failed: true })
    t.same(namesIn(body), ['x', 'y'])
    t.ok(text.length < 1024)
  })

  t.test(`QUEUE=${queue}: without an enabled target the answer is 503`, async t => {
    const service = await startTestService(t, {
      env,
      targets: [webhook('hook', 'http://127.0.0.1:9', { enabled: false })]
    })
    for (const path of [publishPaths.all, publishPaths.healthy]) {
      const { status, body, headers } = await service.post(path, oneAlert())
      t.equal(status, 503)
      t.same(body, {
        statusCode: 503,
        code: 'NO_ENABLED_TARGETS',
        error: 'Service Unavailable',
        message: 'no target is enabled'
      })
      t.match(headers.get('retry-after'), /^\d+$/)
    }
  })

  t.test(`QUEUE=${queue}: a named disabled target is skipped, which owes nothing`, async t => {
    const hook = await startStandIn(t)
    const service = await startTestService(t, { env, targets: [webhook('hook', hook.url, { enabled: false })] })
    const { status, body } = await service.post(publishPaths.named, { ...oneAlert(), target_names: ['hook'] })
    t.equal(status, 200)
    t.match(body, { success: false, all_failed: false, skipped_count: 1, queued_count: 0, success_rate: 0 })
    t.same(body.results.map(steadyTarget), [
      result('hook', 'webhook', { success: false, skipped: true, skip_reason: 'disabled', attempts: 0 })
    ])
    t.same(hook.requests, [])
  })

  t.test(`QUEUE=${queue}: a target gets what its filter lets through, and is skipped if that is nothing`, async t => {
    const hook = await startStandIn(t)
    const targets = [
      webhook('all', `${hook.url}/all`),
      webhook('b-only', `${hook.url}/b`, { filter: { matchers: ['alertname="B"'] } }),
      webhook('none', `${hook.url}/none`, { filter: { severities: ['info'] } })
    ]
    const service = await startTestService(t, { env, targets })
    const { status, body } = await service.post(publishPaths.all, alertmanagerBody(['A', 'B']))
    t.equal(status, 200)
    t.match(body, {
      success: true,
      is_partial_success: false,
      all_succeeded: false,
      skipped_count: 1,
      success_rate: 66.67
    })
    t.same(
      steadyTarget(body.results[2]),
      result('none', 'webhook', { success: false, skipped: true, skip_reason: 'filtered', attempts: 0 })
    )
    const got = Object.fromEntries(
      hook.requests.map(request => [
        request.path,
        request.json().alerts.map((alert: { alert_name: string }) => alert.alert_name)
      ])
    )
    t.same(got, { '/all': ['A', 'B'], '/b': ['B'] })
  })

  t.test(`QUEUE=${queue}: a target that wants no resolves is skipped for one`, async t => {
    const hook = await startStandIn(t)
    const service = await startTestService(t, { env, targets: [webhook('hook', hook.url, { send_resolved: false })] })
    t.equal((await service.post(publishPaths.all, alertmanagerBody())).status, 200)
    const { status, body } = await service.post(
      publishPaths.all,
      alertmanagerBody(['NodeDown'], { status: 'resolved' })
    )
    t.equal(status, 200)
    t.same(body.results.map(steadyTarget), [
      result('hook', 'webhook', { success: false, skipped: true, skip_reason: 'resolved_not_wanted', attempts: 0 })
    ])
    t.equal(hook.requests.length, 1)
  })

  t.test(
    `QUEUE=${queue}: a target that is down is ${owned ? 'owed the alert' : 'left to the caller’s retry'}`,
    async t => {
      const up = await startStandIn(t)
      const down = await startStandIn(t, { status: 503, body: 'secret words of the target' })
      const service = await startTestService(t, {
        env: { ...env, ...noRetry },
        targets: [webhook('down', down.url), webhook('up', up.url)]
      })
      const { status, body, headers, text } = await service.post(publishPaths.all, oneAlert())
      const failed = {
        success: false,
        status_code: 503,
        error: 'Webhook answered 503',
        error_type: 'transient',
        error_reason: 'server_error'
      }
      t.notMatch(text, 'secret words')
      t.match(body, {
        success: true,
        is_partial_success: true,
        all_succeeded: false,
        all_failed: false,
        success_count: 1,
        failure_count: 1,
        queued_count: owned ? 1 : 0,
        success_rate: 50
      })
      t.same(body.results.map(steadyTarget), [
        result('down', 'webhook', { ...failed, ...(owned ? { queued: true, delivery_id: 'id' } : {}) }),
        result('up', 'webhook', { success: true, status_code: 200 })
      ])
      if (owned) {
        t.equal(status, 207)
        const delivery = await service.get(`/api/v1/deliveries/${body.results[0].delivery_id}`)
        t.match(delivery.body, {
          state: 'queued',
          target: 'down',
          attempts: [{ status_code: 503, error_reason: 'server_error' }]
        })
      } else {
        t.equal(status, 503)
        t.match(body, { statusCode: 503, code: 'QUEUE_UNAVAILABLE' })
        t.match(headers.get('retry-after'), /^\d+$/)
      }
    }
  )

  t.test(`QUEUE=${queue}: when every target is down, the answer is ${owned ? 202 : 503}`, async t => {
    const targets = [webhook('a', await nobodyThere()), webhook('b', await nobodyThere())]
    const service = await startTestService(t, { env: { ...env, ...noRetry }, targets })
    const { status, body } = await service.post(publishPaths.all, oneAlert())
    t.equal(status, owned ? 202 : 503)
    t.match(body, {
      success: false,
      is_partial_success: false,
      all_failed: true,
      failure_count: 2,
      queued_count: owned ? 2 : 0
    })
    t.match(body.results[0], {
      error: 'Webhook refused or broke the connection',
      error_type: 'transient',
      error_reason: 'connection'
    })
  })

  t.test(`QUEUE=${queue}: a refusal for good is 502 alone and 207 beside a delivery`, async t => {
    const picky = await startStandIn(t, { status: 422 })
    const hook = await startStandIn(t)
    const targets = [webhook('hook', hook.url), webhook('picky', picky.url)]
    const service = await startTestService(t, { env, targets })
    const alone = await service.post(publishPaths.named, { ...oneAlert('A'), target_names: ['picky'] })
    t.equal(alone.status, 502)
    t.match(alone.body, { statusCode: 502, code: 'ALL_TARGETS_FAILED', error: 'Bad Gateway', all_failed: true })
    t.same(alone.body.results.map(steadyTarget), [
      result('picky', 'webhook', {
        success: false,
        status_code: 422,
        error: 'Webhook answered 422',
        error_type: 'permanent',
        error_reason: 'client_error',
        delivery_id: 'id'
      })
    ])
    const beside = await service.post(publishPaths.all, oneAlert('B'))
    t.equal(beside.status, 207)
    t.match(beside.body, { success: true, is_partial_success: true, success_rate: 50 })
  })

  t.test(
    `QUEUE=${queue}: wrong credentials are ${owned ? 'owed until the target changes' : 'left to the caller'}`,
    async t => {
      const hook = await startStandIn(t, { status: 401 })
      const service = await startTestService(t, { env, targets: [webhook('hook', hook.url)] })
      const { status, body } = await service.post(publishPaths.all, oneAlert())
      t.equal(status, owned ? 202 : 503)
      t.match(body.results[0], { error: 'Webhook answered 401', error_type: 'configuration', error_reason: 'auth' })
      const { body: target } = await service.get('/api/v1/targets/hook')
      t.match(target.circuit, { state: 'open', reason: 'auth' })
    }
  )

  t.test(`QUEUE=${queue}: parts are counted where each alert is a request of its own`, async t => {
    const pagerduty = await startStandIn(t, ({ json }) => ({
      status: json().payload.summary.includes('Bad') ? 400 : 202
    }))
    const service = await startTestService(t, {
      env,
      targets: [{ name: 'pd', type: 'pagerduty', url: pagerduty.url, routing_key: 'key' }]
    })
    const good = await service.post(publishPaths.all, alertmanagerBody(['A', 'B']))
    t.equal(good.status, 200)
    t.match(good.body.results[0], {
      success: true,
      attempts: 2,
      parts: { total: 2, delivered: 2, queued: 0, refused: 0 }
    })
    const mixed = await service.post(publishPaths.all, alertmanagerBody(['C', 'Bad', 'D']))
    t.equal(mixed.status, 207)
    t.match(mixed.body, { success: false, is_partial_success: true, all_failed: false })
    t.match(mixed.body.results[0], {
      success: false,
      error_reason: 'client_error',
      attempts: 3,
      parts: { total: 3, delivered: 2, queued: 0, refused: 1 }
    })
    t.equal(pagerduty.requests.length, 5)
    t.match((await service.post(publishPaths.all, oneAlert('Single'))).body.results[0], {
      success: true,
      parts: undefined
    })
  })

  t.test(
    `QUEUE=${queue}: a target that health leaves out is owed it where it was asked for, and passed over by healthy`,
    async t => {
      const gone = await nobodyThere()
      const hook = await startStandIn(t)
      const service = await startTestService(t, {
        env: { ...env, HEALTH_FAILURE_THRESHOLD: '1' },
        targets: [webhook('sick', gone), webhook('well', hook.url)]
      })
      t.match((await service.post('/api/v1/targets/sick/check')).body, { status: 'unhealthy' })
      const healthy = await service.post(publishPaths.healthy, oneAlert('A'))
      t.equal(healthy.status, 200)
      t.same(
        steadyTarget(healthy.body.results[0]),
        result('sick', 'webhook', { success: false, skipped: true, skip_reason: 'unhealthy', attempts: 0 })
      )

      const named = await service.post(publishPaths.named, { ...oneAlert('B'), target_names: ['sick', 'well'] })
      t.equal(named.status, owned ? 207 : 503)
      t.same(
        steadyTarget(named.body.results[0]),
        result('sick', 'webhook', {
          success: false,
          skipped: true,
          skip_reason: 'unhealthy',
          attempts: 0,
          ...(owned ? { queued: true, delivery_id: 'id' } : {})
        })
      )
      const unchecked = await service.post(publishPaths.named, {
        ...oneAlert('C'),
        target_names: ['sick'],
        options: { check_health: false }
      })
      t.match(unchecked.body.results[0], { skipped: false, error_reason: 'connection', attempts: 1 })

      const all = await service.post(publishPaths.all, oneAlert('D'))
      t.match(
        all.body.results[0],
        { skipped: false, error_reason: 'connection', attempts: 1 },
        'all does not ask for health'
      )

      const only = await service.post(publishPaths.healthy, { ...oneAlert('E'), target_names: ['sick'] })
      t.equal(only.status, 503)
      t.match(only.body, {
        code: 'NO_HEALTHY_TARGETS',
        success: false,
        skipped_count: 1,
        results: [{ skip_reason: 'unhealthy' }]
      })
      t.match(only.headers.get('retry-after'), /^\d+$/)

      const anyway = await service.post(publishPaths.healthy, {
        ...oneAlert('F'),
        options: { health_strategy: 'publish_to_all' }
      })
      t.match(anyway.body.results[0], { skipped: false, error_reason: 'connection' })

      const unwanted = { name: 'picky', type: 'webhook', url: hook.url, filter: { severities: ['noise'] } }
      await service.retarget([webhook('sick', gone), unwanted])
      await service.post('/api/v1/targets/sick/check')
      const beside = await service.post(publishPaths.healthy, { ...oneAlert('G'), target_names: ['picky', 'sick'] })
      t.equal(beside.status, 503, 'a filter says nothing about who should have had it')
      t.match(beside.body, {
        code: 'NO_HEALTHY_TARGETS',
        results: [
          { skip_reason: 'filtered', duration_ms: 0 },
          { skip_reason: 'unhealthy', duration_ms: 0 }
        ]
      })
      const picky = await service.post(publishPaths.healthy, { ...oneAlert('H'), target_names: ['picky'] })
      t.equal(picky.status, 200, 'nobody wants it')
    }
  )

  t.test(`QUEUE=${queue}: an open circuit keeps live attempts away unless it is not respected`, async t => {
    const hook = await startStandIn(t, { status: 500 })
    const service = await startTestService(t, {
      env: { ...env, CIRCUIT_FAILURE_THRESHOLD: '1', ...noRetry },
      targets: [webhook('hook', hook.url)]
    })
    await service.post(publishPaths.all, oneAlert('A'))
    const kept = await service.post(publishPaths.all, oneAlert('B'))
    t.equal(kept.status, owned ? 202 : 503)
    t.same(
      steadyTarget(kept.body.results[0]),
      result('hook', 'webhook', {
        success: false,
        skipped: true,
        skip_reason: 'circuit_open',
        attempts: 0,
        ...(owned ? { queued: true, delivery_id: 'id' } : {})
      })
    )
    t.equal(hook.requests.length, 1)
    const passed = await service.post(publishPaths.healthy, oneAlert('C'))
    t.equal(passed.status, 503)
    t.match(passed.body, { code: 'NO_HEALTHY_TARGETS', results: [{ skip_reason: 'circuit_open', queued: undefined }] })

    hook.answer({})
    const forced = await service.post(publishPaths.all, {
      ...oneAlert('D'),
      options: { respect_circuit_breakers: false }
    })
    t.equal(forced.status, 200)
    t.match(forced.body.results[0], { success: true })
  })

  t.test(`QUEUE=${queue}: an address that EGRESS_DENY forbids is never connected to`, async t => {
    const hook = await startStandIn(t)
    const service = await startTestService(t, {
      env: { ...env, EGRESS_DENY: '127.0.0.0/8' },
      targets: [webhook('hook', hook.url), webhook('named', hook.url.replace('127.0.0.1', 'localhost'))]
    })
    const { status, body } = await service.post(publishPaths.all, oneAlert())
    t.equal(status, 502)
    for (const each of body.results)
      t.match(each, {
        error: 'Webhook has an address that EGRESS_DENY forbids',
        error_type: 'permanent',
        error_reason: 'blocked_address'
      })
    t.same(hook.requests, [])
  })
}

t.test('a redirect of a target is not followed', async t => {
  const other = await startStandIn(t)
  const hook = await startStandIn(t, { status: 302, headers: { location: other.url } })
  const service = await startTestService(t, { targets: [webhook('hook', hook.url)] })
  const { status, body } = await service.post(publishPaths.all, oneAlert())
  t.equal(status, 502)
  t.match(body.results[0], { status_code: 302, error_type: 'permanent', error_reason: 'client_error' })
  t.same(other.requests, [])
})

t.test('every spelling of a publish route is the route itself, never a redirect', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { targets: [webhook('hook', hook.url)] })
  const spellings = Object.values(publishPaths).flatMap(path => [
    `${path}/`,
    `${path}//`,
    path.replace('/v1/', '//v1/')
  ])
  for (const path of spellings) {
    const { status } = await service.post(`${path}?target=hook`, oneAlert(path))
    t.equal(status, 200, path)
  }
  t.equal(hook.requests.length, 9, 'explain sends nothing')
  for (const path of ['/api/v1/publish', '/api/v1/publish/parallel/some', '/api/v1/publish/parallel/all/all']) {
    const { status, body } = await service.post(path, oneAlert())
    t.equal(status, 404, path)
    t.match(body, { code: 'NOT_FOUND' })
  }
})

t.test('several alerts are one notification', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { targets: [webhook('hook', hook.url)] })
  const { alert: first } = oneAlert('A', {
    classification: { severity: 'critical', confidence: 0.9 },
    enrichment: { runs: 3 }
  })
  const { alert: second } = oneAlert('B')
  const { status } = await service.post(publishPaths.all, { alerts: [first, second] })
  t.equal(status, 200)
  t.equal(hook.requests.length, 1)
  t.match(hook.requests[0]!.json(), {
    status: 'firing',
    common_labels: { severity: 'critical' },
    alerts: [
      { alert_name: 'A', classification: { severity: 'critical', confidence: 0.9 }, enrichment: { runs: 3 } },
      { alert_name: 'B' }
    ]
  })
})

t.test('an Alertmanager body reaches an Alertmanager-shaped webhook in the very same bytes', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { targets: [webhook('hook', hook.url, { format: 'alertmanager' })] })
  const bytes = Buffer.from(`${JSON.stringify({ ...alertmanagerBody(), extra: 'kept' }, null, 1)}\n`)
  t.equal((await service.post(publishPaths.all, bytes)).status, 200)
  t.same(hook.requests[0]!.bytes, bytes)
})

t.test('the trace of the caller goes on to the targets', async t => {
  const hook = await startStandIn(t)
  const service = await startTestService(t, { targets: [webhook('hook', hook.url)] })
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  await service.post(publishPaths.all, oneAlert('A'), { traceparent })
  await service.post(publishPaths.all, oneAlert('B'), { traceparent: '00-zz-b7ad6b7169203331-01' })
  await service.post(publishPaths.all, oneAlert('C'))
  t.same(
    hook.requests.map(({ headers }) => headers.traceparent),
    [traceparent, undefined, undefined]
  )
})

function namesIn(body: { results: { target_name: string }[] }): string[] {
  return body.results.map(({ target_name }) => target_name)
}

function result(name: string, type: string, more: object): object {
  return { target_name: name, target_type: type, skipped: false, attempts: 1, duration_ms: 'number', ...more }
}
