import t from 'tap'
import { groupByPublish } from '../../src/page/publishes.js'
import type { DeliveryView } from '../../src/routes/deliveries.js'

const at = (second: number): string => new Date(Date.UTC(2026, 10, 21, 2, 0, second)).toISOString()

function delivery(publish: string, target: string, more: Partial<DeliveryView> = {}): DeliveryView {
  return {
    id: `${publish}-${target}-${more.fingerprints ?? ''}`,
    publish_id: publish,
    target,
    target_type: 'webhook',
    state: 'delivered',
    alert_name: 'NodeDown',
    alert_status: 'firing',
    alert_count: 1,
    fingerprints: ['a'],
    accepted_at: at(0),
    finished_at: at(2),
    attempts: [{ at: at(1), duration_ms: 5 }],
    ...more
  }
}

t.test('deliveries of one publish are told together, by name of the target', async t => {
  t.same(groupByPublish([delivery('p1', 'slack'), delivery('p1', 'hook')], false), [
    {
      id: 'p1',
      at: Date.parse(at(0)),
      alertName: 'NodeDown',
      alertStatus: 'firing',
      alerts: 1,
      outcomes: ['hook', 'slack'].map(target => ({
        target,
        state: 'delivered',
        parts: 1,
        inState: 1,
        attempts: 1,
        tookMs: 2_000,
        error: undefined
      }))
    }
  ])
})

t.test('of several parts, those that need most attention speak for the target', async t => {
  const [summary] = groupByPublish(
    [
      delivery('p1', 'pd', { fingerprints: ['a'] }),
      delivery('p1', 'pd', {
        fingerprints: ['b'],
        state: 'queued',
        finished_at: null,
        error: 'PagerDuty answered 503'
      }),
      delivery('p1', 'pd', { fingerprints: ['c'], state: 'queued', finished_at: null })
    ],
    false
  )
  t.same(
    { alerts: summary?.alerts, outcomes: summary?.outcomes },
    {
      alerts: 3,
      outcomes: [
        {
          target: 'pd',
          state: 'queued',
          parts: 3,
          inState: 2,
          attempts: 1,
          tookMs: undefined,
          error: 'PagerDuty answered 503'
        }
      ]
    }
  )
})

t.test('a notification is as large as its widest part, and fires if any part does', async t => {
  const [summary] = groupByPublish(
    [
      delivery('p1', 'pd', { alert_status: 'resolved', alert_name: 'DiskFull' }),
      delivery('p1', 'slack', { alert_count: 40, fingerprints: ['a', 'b'] })
    ],
    false
  )
  t.same(
    { name: summary?.alertName, status: summary?.alertStatus, alerts: summary?.alerts },
    { name: 'NodeDown', status: 'firing', alerts: 40 }
  )
})

t.test('a publish that the page of the log may have cut in two is left out', async t => {
  const ids = (more: boolean) => groupByPublish([delivery('p2', 'a'), delivery('p1', 'a')], more).map(({ id }) => id)
  t.same({ whole: ids(false), cut: ids(true) }, { whole: ['p2', 'p1'], cut: ['p2'] })
})
