import t from 'tap'
import type { Notification } from '../../src/alert.js'
import type { Message } from '../../src/targets/contract.js'
import { targetOf } from '../support/drive.js'
import { alertOf, messageOf, notificationOf, notificationWith } from '../support/messages.js'

const settings = { type: 'webhook', url: 'https://hooks.example.com/alerts' }

const requestOf = (own: object, overrides: Partial<Message> = {}) =>
  targetOf({ ...settings, ...own }).wire.requests(messageOf(overrides))[0]!
const bodyOf = (own: object, overrides: Partial<Message> = {}) => JSON.parse(String(requestOf(own, overrides).body))

t.test('the URL is used as it was written, its query and its last slash too', async t => {
  t.match(requestOf({ url: 'http://10.0.0.1:8080/in/?team=a%20b#part' }), {
    method: 'POST',
    origin: 'http://10.0.0.1:8080',
    path: '/in/?team=a%20b',
    headers: { 'content-type': 'application/json' }
  })
  t.equal(requestOf({ url: 'https://hooks.example.com' }).path, '/')
})

t.test('our own format tells the notification and every alert', async t => {
  const notification = notificationOf('mixed-1-resolved-of-3')
  const { body: _, alerts, ...group } = notification
  t.same(bodyOf({}, { notification }), {
    publish_id: messageOf().publishId,
    status: 'firing',
    ...group,
    alerts: JSON.parse(JSON.stringify(alerts))
  })
})

t.test('classification and enrichment go with the alert in both formats', async t => {
  const added = {
    classification: { severity: 'warning' as const, confidence: 0.9, reasoning: 'Seen before.' },
    enrichment: { owner: { team: 'ops' } }
  }
  const overrides = { alerts: [alertOf(added)] }
  t.match(bodyOf({}, overrides).alerts[0], added)
  t.match(bodyOf({ format: 'alertmanager' }, overrides).alerts[0], added)
})

t.test('an Alertmanager body goes on as the very bytes that came', async t => {
  const notification = notificationOf('firing-3')
  t.equal(requestOf({ format: 'alertmanager' }, { notification }).body, notification.body)
  const copied = { notification, alerts: [...notification.alerts] }
  t.equal(requestOf({ format: 'alertmanager' }, copied).body, notification.body)
})

t.test('an Alertmanager body that lost alerts to a filter is written anew without them', async t => {
  const notification = notificationOf('mixed-1-resolved-of-3')
  const came = JSON.parse(String(notification.body))
  t.same(bodyOf({ format: 'alertmanager' }, { notification, alerts: notification.alerts.slice(1, 2) }), {
    ...came,
    receiver: 'fan.out-team',
    status: 'resolved',
    alerts: came.alerts.slice(1, 2)
  })
})

t.test('an Alertmanager body is written where none came', async t => {
  t.same(bodyOf({ format: 'alertmanager' }, { alerts: [alertOf()] }), {
    receiver: '',
    status: 'firing',
    alerts: [
      {
        status: 'firing',
        labels: alertOf().labels,
        annotations: alertOf().annotations,
        startsAt: '2026-11-20T18:17:30.86Z',
        endsAt: '0001-01-01T00:00:00Z',
        generatorURL: '',
        fingerprint: '40740cd330866521'
      }
    ],
    groupLabels: {},
    commonLabels: {},
    commonAnnotations: {},
    externalURL: '',
    version: '4',
    groupKey: '',
    truncatedAlerts: 0
  })
})

t.test('batch: alert makes a part and a request of each alert, and keeps a lane for each', async t => {
  const target = targetOf({ ...settings, batch: 'alert' })
  const notification = notificationOf('firing-3')
  const parts = target.wire.parts!(notification.alerts, notification)
  t.same(
    parts,
    notification.alerts.map(alert => ({ key: alert.fingerprint, alerts: [alert] }))
  )
  const bodies = parts.map(({ key, alerts }) => {
    const requests = target.wire.requests(messageOf({ notification, alerts, part: key }))
    t.equal(requests.length, 1)
    return JSON.parse(String(requests[0]!.body)).alerts
  })
  t.same(bodies, JSON.parse(JSON.stringify(notification.alerts.map(alert => [alert]))))
  t.equal(target.kind.lane(target.settings), 'alert')
  t.equal(targetOf(settings).kind.lane(targetOf(settings).settings), 'group')
})

t.test('targets that get the same alerts share one body', async t => {
  for (const own of [{}, { format: 'alertmanager' }, { batch: 'alert' }]) {
    const bodies = (notification: Notification, publishId: string) => {
      const target = targetOf({ ...settings, ...own })
      const alerts = own.batch ? [notification.alerts[0]!] : notification.alerts
      return target.wire.requests(messageOf({ notification, alerts, publishId }))[0]!.body
    }
    const notification = notificationWith([alertOf(), alertOf({ fingerprint: '2' })])
    const first = bodies(notification, 'a')
    t.equal(bodies(notification, 'a'), first, 'one buffer')
    t.not(bodies(own.format ? { ...notification } : notification, 'b'), first, 'not that of another publish')
  }
})

t.test(
  'a reader of our own format is told what is late and what is over already; Alertmanager bodies stay as they are',
  async t => {
    const overrides = { lateByMs: 61_000.4, firedAndResolved: true, alerts: [alertOf({ status: 'resolved' })] }
    t.match(bodyOf({}, overrides), { status: 'resolved', fired_and_resolved: true, late_by_ms: 61_000 })
    const usual = bodyOf({}, { ...overrides, lateByMs: 60_000, firedAndResolved: false })
    t.notOk('late_by_ms' in usual || 'fired_and_resolved' in usual)
    const v4 = bodyOf({ format: 'alertmanager' }, overrides)
    t.notOk('late_by_ms' in v4 || 'fired_and_resolved' in v4)
  }
)
