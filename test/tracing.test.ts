import { createRequire } from 'node:module'
import t from 'tap'
import { onEachQueue, workedOff } from './support/queues.js'
import { alertmanagerBody, oneAlert, publishPaths, startTestService } from './support/service.js'
import { startStandIn } from './support/stand-in.js'
import { below, startCollector, traceparentOf } from './support/traces.js'

const caller = { trace: '0af7651916cd43dd8448eb211c80319c', span: 'b7ad6b7169203331' }
const traceparent = `00-${caller.trace}-${caller.span}-01`
const webhook = (name: string, url: string, more: object = {}) => ({ name, type: 'webhook', url, ...more })
const traceparents = (hook: { requests: { headers: object }[] }) =>
  hook.requests.map(({ headers }) => (headers as Record<string, string>).traceparent)
const isLoaded = () =>
  Object.keys(createRequire(import.meta.url).cache).some(path => path.includes('@opentelemetry/sdk-trace'))

// First, since what is imported stays so.
t.test('without an endpoint nothing is exported or imported, and the trace of the caller goes on', async t => {
  const collector = await startCollector(t)
  const hook = await startStandIn(t, [{ status: 503 }, {}])
  const service = await startTestService(t, { env: { RETRY_BASE: '10ms' }, targets: [webhook('hook', hook.url)] })
  t.equal((await service.post(publishPaths.all, oneAlert(), { traceparent })).status, 202)
  await workedOff(service)
  await service.stop()
  t.same(traceparents(hook), [traceparent, traceparent], 'to the retry as well')
  t.same(collector.paths(), [])
  t.notOk(isLoaded())
})

onEachQueue(t, 'a publish, its deliveries, its attempts and a retry are one trace, the caller’s', async (t, queue) => {
  const collector = await startCollector(t)
  const fine = await startStandIn(t)
  const failing = await startStandIn(t, [{ status: 503 }, {}])
  const service = await startTestService(t, {
    env: { ...queue.env, RETRY_BASE: '10ms', OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
    targets: [webhook('failing', failing.url), webhook('fine', fine.url)]
  })
  t.equal((await service.post(publishPaths.all, oneAlert(), { traceparent })).status, 207)
  await workedOff(service)
  await service.stop()
  t.ok(isLoaded())

  t.ok(collector.paths().length > 0)
  for (const path of collector.paths()) t.equal(path, 'POST /v1/traces')
  for (const resource of collector.resources()) t.match(resource, { 'service.name': 'alert-fanout' })
  const spans = collector.spans()
  t.same([...new Set(spans.map(({ traceId }) => traceId))], [caller.trace])
  const about = (name: string) => ({ publish_id: 'id', target_name: name, target_type: 'webhook', alert_count: 1 })
  const refused = { status_code: 503, error_type: 'transient', error_reason: 'server_error' }
  const live = { delivery_id: 'id', from_queue: false, attempts: 1 }
  t.same(below(spans, caller.span), [
    {
      name: 'publish',
      attributes: {
        publish_id: 'id',
        scope: 'all',
        alert_count: 1,
        status_code: 207,
        total_targets: 2,
        success_count: 1,
        failure_count: 1,
        skipped_count: 0,
        queued_count: 1
      },
      below: [
        {
          name: 'delivery',
          attributes: { ...about('failing'), ...live, ...refused, state: 'queued' },
          below: [
            {
              name: 'attempt',
              attributes: { ...about('failing'), ...refused, attempt: 1 },
              error: 'server_error',
              below: []
            }
          ]
        },
        {
          name: 'delivery',
          attributes: {
            ...about('failing'),
            delivery_id: 'id',
            from_queue: true,
            attempts: 2,
            status_code: 200,
            state: 'delivered'
          },
          below: [{ name: 'attempt', attributes: { ...about('failing'), status_code: 200, attempt: 2 }, below: [] }]
        },
        {
          name: 'delivery',
          attributes: { ...about('fine'), ...live, status_code: 200, state: 'delivered' },
          below: [{ name: 'attempt', attributes: { ...about('fine'), status_code: 200, attempt: 1 }, below: [] }]
        }
      ]
    }
  ])
  const attempts = (name: string) =>
    spans
      .filter(span => span.name === 'attempt')
      .filter(({ attributes }) => attributes.some(({ value }) => value.stringValue === name))
      .map(traceparentOf)
  t.same(traceparents(failing), attempts('failing'), 'what goes out names the span of its own attempt')
  t.same(traceparents(fine), attempts('fine'))
})

t.test('a publish without a trace begins one', async t => {
  const collector = await startCollector(t)
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/base/` },
    targets: [webhook('hook', hook.url)]
  })
  await service.post(publishPaths.all, oneAlert('A'))
  await service.post(publishPaths.all, oneAlert('B'), { traceparent: '00-zz-b7ad6b7169203331-01' })
  await service.stop()
  t.same(collector.paths(), ['POST /base/v1/traces'])
  const roots = collector.spans().filter(({ parentSpanId }) => !parentSpanId)
  t.same(
    roots.map(({ name }) => name),
    ['publish', 'publish']
  )
  t.not(roots[0]!.traceId, roots[1]!.traceId)
  t.same(
    traceparents(hook).map(text => text?.split('-')[1]),
    roots.map(({ traceId }) => traceId)
  )
})

t.test('a caller who records nothing is followed', async t => {
  const collector = await startCollector(t)
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
    targets: [webhook('hook', hook.url)]
  })
  await service.post(publishPaths.all, oneAlert(), { traceparent: `00-${caller.trace}-${caller.span}-00` })
  await service.stop()
  t.same(collector.paths(), [])
  t.match(traceparents(hook), [new RegExp(`^00-${caller.trace}-[0-9a-f]{16}-00$`)])
})

t.test('an attempt that carries what waited is linked to the publish that it came with', async t => {
  const collector = await startCollector(t)
  const hook = await startStandIn(t, [{ status: 503, headers: { 'retry-after': '3600' } }, {}])
  const service = await startTestService(t, {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
    targets: [webhook('hook', hook.url)]
  })
  t.equal((await service.post(publishPaths.all, alertmanagerBody(['A']))).status, 202)
  t.equal((await service.post(publishPaths.all, alertmanagerBody(['A'], { status: 'resolved' }))).status, 200)
  await service.stop()
  const spans = collector.spans()
  const [first, second] = spans.filter(({ name }) => name === 'publish')
  const linked = spans.filter(({ links = [] }) => links.length > 0)
  t.match(linked, [
    { name: 'attempt', traceId: second!.traceId, links: [{ traceId: first!.traceId, spanId: first!.spanId }] }
  ])
})

t.test('a publish that fails is an error in its trace, and so is what a target refused', async t => {
  const collector = await startCollector(t)
  const hook = await startStandIn(t, { status: 400 })
  const service = await startTestService(t, {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
    targets: [webhook('hook', hook.url)]
  })
  t.equal((await service.post(publishPaths.all, oneAlert())).status, 502)
  await service.retarget([])
  t.equal((await service.post(publishPaths.all, oneAlert())).status, 503)
  await service.stop()
  const failure = { error_type: 'permanent', error_reason: 'client_error', status_code: 400 }
  t.match(below(collector.spans(), ''), [
    {
      attributes: { status_code: 502, code: 'ALL_TARGETS_FAILED' },
      error: 'ALL_TARGETS_FAILED',
      below: [
        {
          attributes: { state: 'refused', ...failure },
          error: 'client_error',
          below: [{ attributes: failure, error: 'client_error' }]
        }
      ]
    },
    { attributes: { status_code: 503, code: 'NO_ENABLED_TARGETS' }, error: 'NO_ENABLED_TARGETS', below: [] }
  ])
})

t.test('no secret, no path and nothing of an alert is in a span', async t => {
  const collector = await startCollector(t)
  const hook = await startStandIn(t, { status: 500, body: 'answer-sentinel' })
  const service = await startTestService(t, {
    env: { RETRY_BASE: '10ms', OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
    targets: [
      webhook('hook', `${hook.url}/path-sentinel`, {
        headers: { 'x-key': 'header-sentinel' },
        auth: { type: 'bearer', token: 'token-sentinel' }
      })
    ]
  })
  const alert = oneAlert('name-sentinel', {
    annotations: { summary: 'text-sentinel' },
    generator_url: 'http://generator-sentinel/'
  })
  await service.post(publishPaths.all, alert, { 'idempotency-key': 'key-sentinel' })
  await hook.got(2)
  await service.stop()
  t.ok(collector.spans().length >= 5)
  t.strictSame(collector.text().match(/\w+-sentinel/g), null)
})

t.test('a receiver of traces that refuses them costs a warning and nothing else', async t => {
  const collector = await startCollector(t, { status: 400, body: 'no' })
  const hook = await startStandIn(t)
  const service = await startTestService(t, {
    env: { LOG_LEVEL: 'warn', OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
    targets: [webhook('hook', hook.url)]
  })
  t.equal((await service.post(publishPaths.all, oneAlert())).status, 200)
  await service.stop()
  t.match(service.logs.slice(-1), [{ spans: 3, msg: 'traces cannot be exported: they are thrown away' }])
})
