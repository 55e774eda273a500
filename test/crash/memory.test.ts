import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { compile, openPlace } from '../support/process.js'
import { alertmanagerBody, publishPaths } from '../support/service.js'
import { startStandIn } from '../support/stand-in.js'

const alerts = 5_000
const bytesEach = 1_000_000
const groups = ['a', 'b', 'c', 'd']
/** What five targets of which each has a copy of all these groups would need is several times as much. */
const flags = ['--max-old-space-size=192', '--max-semi-space-size=8']

t.test('groups that do not fit into memory together are taken one after the other, and none is lost', async t => {
  let isUp = false
  const took = new Map<string, Set<string>>()
  const targets = await Promise.all(
    ['one', 'two', 'three', 'four', 'five'].map(async name => {
      const seen = new Set<string>()
      took.set(name, seen)
      const { url } = await startStandIn(t, ({ json }) => {
        if (!isUp) return { status: 503 }
        for (const { fingerprint } of json().alerts) seen.add(fingerprint)
        return {}
      })
      return { name, type: 'webhook', url, format: 'alertmanager' }
    })
  )
  const env = { RETRY_BASE: '100ms', RETRY_MAX_DELAY: '500ms', CIRCUIT_OPEN_DURATION: '300ms' }
  const place = await openPlace(t, compile(t), { targets, env, flags })
  const run = await place.start()
  let ended: unknown
  void run.ended.then(end => {
    ended = end
  })

  const answers: number[] = []
  await Promise.all(
    groups.map(async (group, index) => {
      const body = groupOf(group, index)
      t.ok(JSON.stringify(body).length > bytesEach)
      for (let status = 0; status !== 202 && !ended; await sleep(50)) {
        status = await place.post(publishPaths.all, body).then(
          answer => answer.status,
          () => 0
        )
        answers.push(status)
      }
    })
  )
  t.notOk(ended, run.output())
  t.strictSame(
    answers.filter(status => status !== 202 && status !== 503),
    []
  )
  t.ok(answers.includes(503), 'some had to come again')

  isUp = true
  while (!ended && (await place.get('/api/v1/queue')).body.depth > 0) await sleep(50)
  t.notOk(ended, run.output())
  for (const [name, { size }] of took) t.equal(size, groups.length * alerts, name)
})

function groupOf(group: string, index: number) {
  const body = alertmanagerBody(Array.from({ length: alerts }, (_, number) => `${group}${number}`))
  for (const [number, alert] of body.alerts.entries())
    alert.fingerprint = (index * alerts + number).toString(16).padStart(16, '0')
  return { ...body, groupKey: `{}:{group="${group}"}` }
}
