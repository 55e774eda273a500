import t from 'tap'
import { until } from '../support/looks.js'
import { receive } from '../support/receiver.js'
import { alertmanagerBody, oneAlert, publishPaths, startTestService } from '../support/service.js'

t.test('of many parts that come to an open circuit after its time, one goes as the probe', async t => {
  const { origin, received } = await receive(t, response => response.writeHead(500).end())
  const service = await startTestService(t, {
    targets: [{ name: 'hook', type: 'webhook', url: origin, batch: 'alert', max_concurrent: 20 }],
    env: { QUEUE: 'off', CIRCUIT_FAILURE_THRESHOLD: '1', CIRCUIT_OPEN_DURATION: '30ms' }
  })
  const circuit = async () => (await service.get('/api/v1/targets/hook')).body.circuit
  await service.post(publishPaths.all, oneAlert('First'))
  t.equal(received.length, 1)
  const { state, next_probe: due } = await circuit()
  t.equal(state, 'open')
  await until('a probe is due', () => Date.now() > Date.parse(due))

  const names = Array.from({ length: 20 }, (_, index) => `Alert${index}`)
  const { body } = await service.post(publishPaths.all, alertmanagerBody(names))
  t.match(body.results[0].parts, { total: 20, delivered: 0, queued: 0 })
  t.equal(received.length, 2)
})
