import t from 'tap'
import { createDeliveryLog } from '../src/delivery-log.js'
import { untouched } from '../src/pipeline/job.js'
import { alertOf } from './support/messages.js'
import { observed, receiver } from './support/observed.js'

const start = Date.parse('2026-11-20T18:00:00Z')
const firing = { alert_name: 'DiskFull', status: 'firing', labels: { alertname: 'DiskFull' }, fingerprint: 'abc' }

/** A job with an entry of that id, as far as the log looks at it. */
function job(id: string, { target = 'hook', fingerprints = ['f1'], folded = [] as string[] } = {}) {
  const alerts = fingerprints.map((fingerprint, seq) => ({ alert: alertOf({ fingerprint }), seq }))
  const own = { publish_id: `p-${id}`, target, type: 'webhook', accepted_at: start, attempts: [] }
  const attempt = { attemptedAt: start, attemptMs: 5 }
  return { entry: { ...own, id, alerts }, folded: folded.map(other => ({ id: other })), ...attempt } as never
}

const delivered = { kind: 'delivered', attempts: 1, durationMs: 5 } as const

t.test('a delivery is told with its attempts', async t => {
  const target = await receiver(t)
  target.status = 503
  let at = start
  const { publish, deliveryLog } = await observed(t, [{ name: 'hook', type: 'webhook', url: target.url }], {
    now: () => (at += 7)
  })
  const { publish_id, results } = await publish(firing)
  const { items, next_cursor } = deliveryLog.list({ limit: 10 })
  t.equal(next_cursor, null)
  t.match(items, [
    {
      id: results[0]!.delivery_id,
      publish_id,
      target: 'hook',
      target_type: 'webhook',
      state: 'queued',
      alert_name: 'DiskFull',
      alert_count: 1,
      fingerprints: ['abc'],
      accepted_at: /^2026-11-20T18:00:/,
      finished_at: null,
      attempts: [
        {
          at: /^2026-11-20T18:00:/,
          status_code: 503,
          error_reason: 'server_error',
          error: 'Webhook answered 503'
        }
      ],
      error: 'Webhook answered 503',
      error_reason: 'server_error'
    }
  ])
})

t.test('a retry settles the delivery that it belongs to', async t => {
  const target = await receiver(t)
  target.status = 503
  const { publish, deliveryLog, workedOff } = await observed(t, [{ name: 'hook', type: 'webhook', url: target.url }])
  const { results } = await publish(firing)
  target.status = 200
  await workedOff()
  const { items } = deliveryLog.list({ limit: 10 })
  t.match(items, [
    { id: results[0]!.delivery_id, state: 'delivered', attempts: [{ status_code: 503 }, { status_code: 200 }] }
  ])
  t.not(items[0]!.finished_at, null)
  t.notOk('error' in items[0]!)
  t.strictSame(deliveryLog.get(results[0]!.delivery_id!), items[0])
})

t.test('what is refused stands in the log once, with its reason', async t => {
  const target = await receiver(t)
  target.status = 400
  const { publish, deliveryLog } = await observed(t, [{ name: 'hook', type: 'webhook', url: target.url }])
  await publish(firing)
  t.match(deliveryLog.list({ limit: 10 }).items, [{ state: 'refused', error_reason: 'client_error' }])
})

t.test('what an earlier request did is not logged again', async t => {
  const target = await receiver(t)
  const { publish, deliveryLog } = await observed(t, [{ name: 'hook', type: 'webhook', url: target.url }])
  await publish(firing, ['hook'], 'once')
  await publish(firing, ['hook'], 'once')
  t.equal(deliveryLog.list({ limit: 10 }).items.length, 1)
})

t.test('what nobody could own has failed, and what there was nothing to tell says so', async t => {
  const log = createDeliveryLog({ now: () => start })
  const failure = { type: 'transient', reason: 'timeout', message: 'too late' } as const
  log.settled(job('a'), { kind: 'unowned', failure, attempts: 1, durationMs: 5 })
  log.settled(job('b'), { kind: 'nothing', step: 'superseded', attempts: 0, durationMs: 0 })
  log.settled(job('c'), untouched)
  t.match(log.list({ limit: 10 }).items, [
    { id: 'b', state: 'nothing' },
    { id: 'a', state: 'failed', error: 'too late', error_reason: 'timeout' }
  ])
})

t.test('the list is filtered by state, target and fingerprint', async t => {
  const log = createDeliveryLog({ now: () => start })
  log.settled(job('a', { target: 'one', fingerprints: ['f1', 'f2'] }), delivered)
  log.settled(job('b', { target: 'two', fingerprints: ['f2'] }), delivered)
  log.settled(job('c', { target: 'two' }), { kind: 'queued', id: 'c', attempts: 1, durationMs: 5 })
  const ids = (query: object) => log.list({ limit: 10, ...query }).items.map(({ id }) => id)
  t.strictSame(ids({}), ['c', 'b', 'a'])
  t.strictSame(ids({ state: 'delivered' }), ['b', 'a'])
  t.strictSame(ids({ target: 'two' }), ['c', 'b'])
  t.strictSame(ids({ fingerprint: 'f2' }), ['b', 'a'])
  t.strictSame(ids({ fingerprint: 'f2', target: 'one' }), ['a'])
  t.strictSame(ids({ state: 'refused' }), [])
})

t.test('pages follow each other, also while new deliveries come', async t => {
  const log = createDeliveryLog({ now: () => start })
  for (const id of ['a', 'b', 'c', 'd', 'e']) log.settled(job(id), delivered)
  const first = log.list({ limit: 2 })
  t.strictSame(
    first.items.map(({ id }) => id),
    ['e', 'd']
  )
  log.settled(job('f'), delivered)
  const second = log.list({ limit: 2, cursor: first.next_cursor! })
  t.strictSame(
    second.items.map(({ id }) => id),
    ['c', 'b']
  )
  const third = log.list({ limit: 2, cursor: second.next_cursor! })
  t.strictSame(third, { items: third.items, next_cursor: null })
  t.strictSame(
    third.items.map(({ id }) => id),
    ['a']
  )
  t.strictSame(log.list({ limit: 2, cursor: 'none' }), { items: [], next_cursor: null })
})

t.test('it remembers 10,000 deliveries', async t => {
  const log = createDeliveryLog({ now: () => start })
  for (let each = 0; each <= 10_000; each++) log.settled(job(`d${each}`), delivered)
  t.equal(log.get('d0'), undefined)
  t.match([log.get('d1'), log.get('d10000')], [{ id: 'd1' }, { id: 'd10000' }])
  const query = { limit: 20_000 }
  t.equal(log.list(query).items.length, 10_000)
})

t.test('only the last ones are remembered, owed ones too', async t => {
  const log = createDeliveryLog({ capacity: 3, now: () => start })
  log.settled(job('a'), { kind: 'queued', id: 'a', attempts: 1, durationMs: 5 })
  for (const id of ['b', 'c', 'd']) log.settled(job(id), delivered)
  t.strictSame(
    log.list({ limit: 10 }).items.map(({ id }) => id),
    ['d', 'c', 'b']
  )
  t.equal(log.get('a'), undefined)
  log.settled(job('a'), delivered)
  t.strictSame(
    log.list({ limit: 10 }).items.map(({ id, state }) => [id, state]),
    [
      ['a', 'delivered'],
      ['d', 'delivered'],
      ['c', 'delivered']
    ]
  )
})

t.test('an entry that another one took over is settled with it', async t => {
  const log = createDeliveryLog({ now: () => start })
  for (const id of ['a', 'b']) log.settled(job(id), { kind: 'queued', id, attempts: 1, durationMs: 5 })
  log.settled(job('a', { folded: ['a', 'b'] }), delivered)
  t.match(log.list({ limit: 10 }).items, [
    { id: 'b', state: 'delivered', finished_at: '2026-11-20T18:00:00.000Z', error: undefined },
    { id: 'a', state: 'delivered' }
  ])
})

t.test('an entry that another one took over and that is still owed says where it goes on', async t => {
  const log = createDeliveryLog({ now: () => start })
  for (const id of ['a', 'b']) log.settled(job(id), { kind: 'queued', id, attempts: 1, durationMs: 5 })
  log.settled(job('a', { folded: ['a', 'b'] }), { kind: 'queued', id: 'a', attempts: 2, durationMs: 5 })
  t.match(log.get('a'), { state: 'queued', finished_at: null })
  t.match(log.get('b'), { state: 'nothing', error_reason: 'merged', error: 'it goes on as delivery a' })
})

t.test('an entry that another one took over and that was refused then waits no more', async t => {
  const log = createDeliveryLog({ now: () => start })
  for (const id of ['a', 'b']) log.settled(job(id), { kind: 'queued', id, attempts: 1, durationMs: 5 })
  const failure = { type: 'permanent', reason: 'client_error', message: 'no' } as const
  log.settled(job('a', { folded: ['a', 'b'] }), { kind: 'refused', failure, attempts: 2, durationMs: 5 })
  t.match(log.get('b'), { state: 'nothing', error_reason: 'merged', finished_at: '2026-11-20T18:00:00.000Z' })
})

t.test('of a storm only so many fingerprints are remembered, and how many there were', async t => {
  const log = createDeliveryLog({ now: () => start })
  const fingerprints = Array.from({ length: 20_000 }, (_, index) => `f${index}`)
  log.settled(job('a', { fingerprints }), delivered)
  const [item] = log.list({ limit: 10 }).items
  t.equal(item!.alert_count, 20_000)
  t.strictSame(item!.fingerprints, fingerprints.slice(0, 256))
})
