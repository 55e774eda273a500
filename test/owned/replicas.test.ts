import t, { type Test } from 'tap'
import { events, pagerduty, told, webhook } from '../support/posts.js'
import { depth, eventually, type OwnQueue, onEachQueue, workedOff } from '../support/queues.js'
import { oneAlert, patient, publishPaths, startTestService, type TestService } from '../support/service.js'
import { type Answer, gate, type StandIn, startStandIn } from '../support/stand-in.js'

const filter = { severities: ['critical'] }

/** The alert, so severe when it fires that filters let it through, and no more when it is resolved. */
const alert = (status: 'firing' | 'resolved') =>
  oneAlert('A', {
    status,
    classification: { severity: status === 'firing' ? 'critical' : 'info' },
    starts_at: '2026-01-01T00:00:00Z',
    fingerprint: '41'.padEnd(32, '2e')
  })

/** A chat and a pager whose filters keep the resolve away, a target whose health does, and one that is disabled. */
async function startTargets(t: Test, first: () => Answer | Promise<Answer>) {
  let isWell = true
  const start = () => {
    let took = 0
    return startStandIn(t, ({ path }) => {
      if (path === '/health') return { status: isWell ? 200 : 500 }
      return took++ > 0 ? { status: 202 } : first()
    })
  }
  const [off, pd, picky, sick] = await Promise.all([start(), start(), start(), start()])
  const settings = (enabled: boolean) => [
    webhook('off', off.url, { enabled }),
    pagerduty('pd', pd.url, { filter }),
    webhook('picky', picky.url, { filter }),
    webhook('sick', sick.url, { health: { path: '/health' } })
  ]
  const posts = (standIn: StandIn) => ({
    ...standIn,
    requests: standIn.requests.filter(({ method }) => method === 'POST')
  })
  return {
    /** As they are when the alert fires, and when it is resolved. */
    before: settings(true),
    after: settings(false),
    sicken(): void {
      isWell = false
    },
    underWay: () => [off, pd, picky, sick].reduce((sum, each) => sum + posts(each).requests.length, 0),
    told: () => ({ off: told(posts(off)), pd: events(pd), picky: told(posts(picky)), sick: told(posts(sick)) })
  }
}

const serviceOf = (t: Test, queue: OwnQueue, targets: readonly object[]) =>
  startTestService(t, { env: { ...queue.env, ...patient, HEALTH_FAILURE_THRESHOLD: '1' }, targets })

const inFlight = async (service: TestService) => (await service.get('/status')).body.in_flight.deliveries

const delivered = { success: true, skipped: false }
const kept = (skip_reason: string) => ({ skipped: true, skip_reason, queued: true })
const nothing = { skipped: true, skip_reason: 'resolved_not_wanted', queued: undefined }

for (const [ending, answer, inChat, onPager, answers] of [
  ['arrives', { status: 202 }, ['A', '-A'], ['A', '-A'], [kept('disabled'), delivered, delivered, kept('unhealthy')]],
  ['fails', { status: 503 }, ['A', '!-A'], ['A'], [kept('disabled'), nothing, delivered, kept('unhealthy')]],
  ['is refused', { status: 400 }, ['A'], ['A'], [nothing, nothing, nothing, nothing]]
] as const) {
  onEachQueue(
    t,
    `a resolve that comes while the firing is under way, in whatever replica, goes if that ${ending} as it must`,
    async (t, queue) => {
      const slow = gate()
      const targets = await startTargets(t, slow.answer)
      const one = await serviceOf(t, queue, targets.before)
      const firing = one.post(publishPaths.all, alert('firing'))
      await eventually('it is under way', () => targets.underWay() === 4)
      targets.sicken()
      const other = queue.redis ? await serviceOf(t, queue, targets.after) : one
      if (other === one) await one.retarget(targets.after)
      t.match((await other.post('/api/v1/targets/sick/check')).body, { status: 'unhealthy' })
      const resolved = other.post(publishPaths.healthy, alert('resolved'))
      const waiting = other === one ? 8 : 4
      await eventually('the resolve waits for it', async () => (await inFlight(other)) === waiting)
      slow.open(answer)
      await firing
      t.match((await resolved).body.results, answers)
      await other.retarget(targets.before)
      await workedOff(other)
      t.same(targets.told(), { off: inChat, pd: onPager, picky: inChat, sick: inChat })
    }
  )
}

onEachQueue(t, 'a resolve of what nobody has or is sending is left out as ever, and no delivery', async (t, queue) => {
  const targets = await startTargets(t, () => ({ status: 202 }))
  const service = await serviceOf(t, queue, targets.after)
  targets.sicken()
  await service.post('/api/v1/targets/sick/check')
  const resolved = await service.post(publishPaths.healthy, alert('resolved'))
  t.equal(resolved.status, 503, 'health left out the only one that wants it')
  t.match(resolved.body.results, [
    { target_name: 'pd', skipped: true, skip_reason: 'filtered', queued: undefined },
    { target_name: 'picky', skipped: true, skip_reason: 'filtered', queued: undefined },
    { target_name: 'sick', skipped: true, skip_reason: 'unhealthy', queued: undefined }
  ])
  t.equal(resolved.body.results.length, 3)
  t.same((await service.get('/api/v1/deliveries')).body.items, [])
  t.equal(await depth(service), 0)
  t.equal(targets.underWay(), 0)
})
