import t from 'tap'
import { alertmanagerBody, noRetry, oneAlert, publishPaths, startTestService } from '../support/service.js'
import { gate, startStandIn } from '../support/stand-in.js'

const webhook = (name: string, url: string, more: object = {}) => ({ name, type: 'webhook', url, ...more })

for (const queue of ['off', 'embedded']) {
  const env = { QUEUE: queue, ...noRetry }

  t.test(
    `QUEUE=${queue}: an Idempotency-Key makes a repeated publish answer what is known, and send nothing`,
    async t => {
      const hook = await startStandIn(t)
      const service = await startTestService(t, {
        env: { ...env, LOG_LEVEL: 'warn' },
        targets: [webhook('hook', hook.url)]
      })
      const key = { 'idempotency-key': 'chosen-by-the-caller' }
      const first = await service.post(publishPaths.all, oneAlert('A'), key)
      const second = await service.post(publishPaths.all, oneAlert('A'), key)
      t.same([first.status, second.status], [200, 200])
      t.match(first.body.results, [{ success: true, status_code: 200, deduplicated: undefined }])
      t.match(second.body.results, [{ success: true, status_code: 200, deduplicated: true }])
      t.equal(hook.requests.length, 1)
      const warnings = () => service.logs.filter(({ msg }) => /Idempotency-Key/.test(String(msg))).length
      t.equal(warnings(), 0)

      const other = await service.post(publishPaths.all, oneAlert('B'), key)
      t.match(other.body.results, [{ success: true, deduplicated: undefined }], 'another body is another publish')
      t.equal(warnings(), 1)
      t.notMatch(service.logText(), 'chosen-by-the-caller')
      await service.post(publishPaths.all, oneAlert('A'))
      await service.post(publishPaths.all, oneAlert('A'))
      t.equal(hook.requests.length, 4, 'without the header each publish is one of its own')
      t.equal(new Set(hook.requests.map(({ headers }) => headers['idempotency-key'])).size, 4)
    }
  )

  t.test(
    `QUEUE=${queue}: publishes with the same key at the same time are one, and each caller is answered`,
    async t => {
      const slow = gate()
      const hook = await startStandIn(t, slow.answer)
      const service = await startTestService(t, {
        env,
        targets: [webhook('a', `${hook.url}/a`), webhook('b', `${hook.url}/b`)]
      })
      const key = { 'idempotency-key': 'one' }
      const answers = [
        service.post(publishPaths.named, { ...oneAlert(), target_names: ['a', 'b'] }, key),
        service.post(publishPaths.named, { ...oneAlert(), target_names: ['a', 'b'] }, key)
      ]
      await hook.got(2)
      slow.open()
      for (const { status, body } of await Promise.all(answers)) {
        t.equal(status, 200)
        t.match(body.results, [
          { target_name: 'a', success: true },
          { target_name: 'b', success: true }
        ])
      }
      t.same(hook.requests.map(({ path }) => path).sort(), ['/a', '/b'])
    }
  )

  t.test(
    `QUEUE=${queue}: two receivers that post the same bytes to different targets reach each target once`,
    async t => {
      const hook = await startStandIn(t)
      const service = await startTestService(t, {
        env,
        targets: ['a', 'b', 'c'].map(name => webhook(name, `${hook.url}/${name}`))
      })
      const answers = await Promise.all(
        ['target=a&target=b', 'target=b&target=c'].map(query =>
          service.post(`${publishPaths.named}?${query}`, alertmanagerBody())
        )
      )
      for (const { status, body } of answers) {
        t.equal(status, 200)
        t.match(body, { success_count: 2, total_targets: 2 })
      }
      t.same(hook.requests.map(({ path }) => path).sort(), ['/a', '/b', '/c'])
    }
  )

  t.test(`QUEUE=${queue}: the other Alertmanager of a pair is answered without sending`, async t => {
    const hook = await startStandIn(t)
    const service = await startTestService(t, { env, targets: [webhook('hook', hook.url)] })
    await service.post(publishPaths.all, alertmanagerBody(['A', 'B']))
    const body = alertmanagerBody(['A', 'B'])
    // Its annotations, address and order may differ.
    body.alerts.reverse()
    body.alerts[0]!.annotations.summary = 'worse by now'
    const twin = await service.post(publishPaths.all, { ...body, externalURL: 'http://alertmanager-1:9093' })
    t.equal(twin.status, 200)
    t.match(twin.body.results, [{ success: true, deduplicated: true }])
    t.equal(hook.requests.length, 1)
    const resolved = await service.post(publishPaths.all, alertmanagerBody(['A', 'B'], { status: 'resolved' }))
    t.match(resolved.body.results, [{ success: true, deduplicated: undefined }], 'another state is no twin')
    const refired = await service.post(publishPaths.all, alertmanagerBody(['A', 'B']))
    t.match(refired.body.results, [{ success: true, deduplicated: undefined }], 'nor is the same one after it')
    t.equal(hook.requests.length, 3)
  })

  t.test(`QUEUE=${queue}: a reminder is sent again`, async t => {
    const hook = await startStandIn(t)
    const service = await startTestService(t, {
      env: { ...env, DEDUP_WINDOW: '0s' },
      targets: [webhook('hook', hook.url)]
    })
    const reminder = { ...alertmanagerBody(), notification_reason: 'repeat interval elapsed' }
    await service.post(publishPaths.all, reminder)
    await new Promise(resolve => setTimeout(resolve, 5))
    t.match((await service.post(publishPaths.all, reminder)).body.results, [{ success: true, deduplicated: undefined }])
    t.equal(hook.requests.length, 2)
    t.not(hook.requests[0]!.headers['idempotency-key'], hook.requests[1]!.headers['idempotency-key'])
  })

  t.test(`QUEUE=${queue}: what was refused is told from the record until the target changes`, async t => {
    const hook = await startStandIn(t, { status: 422 })
    const service = await startTestService(t, { env, targets: [webhook('hook', `${hook.url}/old`)] })
    const first = await service.post(publishPaths.all, alertmanagerBody())
    const again = await service.post(publishPaths.all, alertmanagerBody())
    t.same([first.status, again.status], [502, 502])
    t.match(again.body.results, [{ error_reason: 'client_error', status_code: 422, deduplicated: true }])
    t.equal(hook.requests.length, 1)
    hook.answer({})
    await service.retarget([webhook('hook', `${hook.url}/new`)])
    const changed = await service.post(publishPaths.all, alertmanagerBody())
    t.equal(changed.status, 200)
    t.same(
      hook.requests.map(({ path }) => path),
      ['/old', '/new']
    )
  })
}

t.test('QUEUE=off: after a 503 the retry reaches only who has not got it', async t => {
  const up = await startStandIn(t)
  const down = await startStandIn(t, [{ status: 500 }, {}])
  const service = await startTestService(t, {
    env: { QUEUE: 'off' },
    targets: [webhook('down', down.url), webhook('up', up.url)]
  })
  t.equal((await service.post(publishPaths.all, alertmanagerBody())).status, 503)
  const retry = await service.post(publishPaths.all, alertmanagerBody())
  t.equal(retry.status, 200)
  t.match(retry.body.results, [
    { target_name: 'down', success: true, deduplicated: undefined },
    { target_name: 'up', success: true, deduplicated: true }
  ])
  t.same([up.requests.length, down.requests.length], [1, 2])
  t.equal(down.requests[0]!.headers['idempotency-key'], down.requests[1]!.headers['idempotency-key'])
})

t.test('what is owed is answered with the same delivery, untouched', async t => {
  const down = await startStandIn(t, { status: 500 })
  const service = await startTestService(t, { env: noRetry, targets: [webhook('down', down.url)] })
  const first = await service.post(publishPaths.all, alertmanagerBody())
  const again = await service.post(publishPaths.all, alertmanagerBody())
  t.same([first.status, again.status], [202, 202])
  t.match(again.body.results, [{ queued: true, deduplicated: true, delivery_id: first.body.results[0].delivery_id }])
  t.equal(down.requests.length, 1)
})
