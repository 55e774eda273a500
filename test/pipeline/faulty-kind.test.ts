import t from 'tap'
import type { OpenTarget } from '../../src/targets/contract.js'
import { webhook } from '../../src/targets/webhook.js'
import { alertmanagerBody, publishPaths, startTestService } from '../support/service.js'
import { startStandIn } from '../support/stand-in.js'

for (const alerts of [1, 150]) {
  t.test(`a kind that throws while ${alerts} alerts are laid out fails its own delivery and no other`, async t => {
    const faulty = webhook as { open: (...args: Parameters<typeof webhook.open>) => OpenTarget }
    const { open } = faulty
    t.teardown(() => {
      faulty.open = open
    })
    faulty.open = (...args) => ({
      ...open(...args),
      parts() {
        throw new TypeError('a bug')
      }
    })
    const hook = await startStandIn(t, { body: 'ok' })
    const service = await startTestService(t, {
      targets: [
        { name: 'faulty', type: 'webhook', url: hook.url },
        { name: 'good', type: 'slack', url: `${hook.url}/services/a/b/c` }
      ]
    })
    const names = Array.from({ length: alerts }, (_, index) => `Alert${index}`)
    const { status, body } = await service.post(publishPaths.all, alertmanagerBody(names))
    t.equal(status, 503)
    t.match(body.results, [{ success: false, error_reason: 'internal', error: /TypeError$/ }, { success: true }])
    t.equal((await service.get('/healthz')).status, 200)
  })
}
