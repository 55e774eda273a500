import t from 'tap'
import { startApiServer } from '../support/api-server.js'
import { until } from '../support/looks.js'
import { noRetry, oneAlert, publishPaths, startTestService } from '../support/service.js'
import { gate, startStandIn } from '../support/stand-in.js'

t.test('a new credential in a Secret is tried at once with what is owed, and an Event says that it works', async t => {
  const hook = await startStandIn(t, ({ headers }) => ({ status: headers.authorization === 'Bearer new' ? 200 : 401 }))
  const cluster = await startApiServer(t)
  const secret = (token: string) => ({ type: 'webhook', url: hook.url, auth: `{type: bearer, token: ${token}}` })
  cluster.apply('hook', secret('old'))
  const service = await startTestService(t, {
    env: { DISCOVERY: 'kubernetes', ...noRetry, CIRCUIT_OPEN_DURATION: '1h' }
  })
  await until('it is ready', async () => (await service.get('/readyz')).status === 200)
  for (const name of ['A', 'B']) t.equal((await service.post(publishPaths.all, oneAlert(name))).status, 202)

  cluster.apply('hook', secret('wrong'))
  await until('it was tried', () => hook.requests.some(({ headers }) => headers.authorization === 'Bearer wrong'))
  await service.post('/api/v1/targets/hook/circuit/reset')
  const circuit = async () => (await service.get('/api/v1/targets/hook')).body.circuit.state
  await until('its circuit has opened again', async () => (await circuit()) === 'open')
  t.same(cluster.posted, [], 'another wrong one is nothing to tell, nor is a circuit that was closed by hand')

  cluster.apply('hook', secret('new'))
  await until('the Event is written', () => cluster.posted.length > 0)
  t.match(cluster.posted, [
    {
      path: '/api/v1/namespaces/ops/events',
      body: {
        reason: 'TargetWorks',
        type: 'Normal',
        involvedObject: { kind: 'Secret', name: 'hook', namespace: 'ops' }
      }
    }
  ])
  const nothingOwed = async () => (await service.get('/api/v1/queue')).body.depth === 0
  await until('nothing is owed', nothingOwed)

  hook.answer([{ status: 401 }, {}])
  await service.post(publishPaths.all, oneAlert('C'))
  await service.post('/api/v1/targets/hook/circuit/reset')
  await until('nothing is owed again', nothingOwed)
  t.equal(cluster.posted.length, 1, 'nothing was changed this time')
})

t.test('an attempt with settings that were replaced meanwhile says nothing about the new ones', async t => {
  const slow = gate()
  const old = await startStandIn(t, () => slow.answer())
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { ...noRetry, CIRCUIT_OPEN_DURATION: '1h' },
    targets: [{ name: 'hook', type: 'webhook', url: old.url }]
  })
  const posted = service.post(publishPaths.all, oneAlert('A'))
  await old.got(1)
  await service.retarget([{ name: 'hook', type: 'webhook', url: hook.url }])
  slow.open({ status: 401 })
  t.equal((await posted).status, 202)
  await hook.got(1)
  t.match((await service.get('/api/v1/targets/hook')).body, { circuit: { state: 'closed' } })
  t.equal((await service.post(publishPaths.all, oneAlert('B'))).status, 200)
})
