import { fileURLToPath } from 'node:url'
import t from 'tap'
import { dashboard } from '../../scripts/dashboard.js'
import { needs } from '../support/programs.js'
import { startPrometheus } from '../support/prometheus.js'
import { receive } from '../support/receiver.js'
import { alertmanagerBody, oneAlert, publishPaths, startTestService } from '../support/service.js'

const own = 'alert_history_publishing_'

t.test('a real Prometheus tells what happened', async t => {
  if (!needs(t, 'prometheus')) return
  const good = await receive(t)
  const bad = await receive(t, response => response.writeHead(400).end())
  const service = await startTestService(t, {
    targets: [
      { name: 'hook', type: 'webhook', url: good.origin },
      { name: 'chat', type: 'slack', url: good.origin },
      { name: 'bad', type: 'webhook', url: bad.origin }
    ]
  })
  const rules = fileURLToPath(new URL('../../helm/rules/alert-fanout.yaml', import.meta.url))
  const prometheus = await startPrometheus(t, service.url, [rules])
  await prometheus.scraped()
  await service.post(publishPaths.all, alertmanagerBody(['NodeDown']))
  await service.post(publishPaths.named, { ...oneAlert('DiskFull'), target_names: ['hook'] })
  await service.post(publishPaths.named, { alert: {} })
  await prometheus.scraped()
  await prometheus.scraped()

  /** The values of a query by one label, or by none. */
  const values = async (expr: string, label = '') =>
    Object.fromEntries((await prometheus.query(expr)).map(({ metric, value }) => [metric[label] ?? '', value]))
  t.strictSame(await values('up'), { '': 1 })
  t.strictSame(await values(`${own}parallel_total`, 'result'), { success: 1, partial_success: 1, failure: 0 })
  t.strictSame(await values(`${own}parallel_targets_success_total`, 'target_name'), { hook: 2, chat: 1, bad: 0 })
  t.strictSame(await values(`${own}parallel_targets_failure_total > 0`, 'target_name'), { bad: 1 })
  t.strictSame(await values(`sum by (target_type) (${own}delivery_attempts_total)`, 'target_type'), {
    webhook: 3,
    slack: 1
  })
  t.strictSame(await values(`${own}alerts_received_total`, 'status'), { firing: 2, resolved: 0 })
  t.strictSame(await values(`${own}alerts_invalid_total`), { '': 1 })
  t.strictSame(await values(`${own}time_to_first_human_seconds_count`), { '': 1 })
  t.strictSame(await values(`${own}undelivered_criticals`), { '': 0 })
  t.strictSame(await values(`${own}dlq_size`, 'target_name'), { hook: 0, chat: 0, bad: 1 })
  t.strictSame(await values(`${own}discovery_targets`, 'type'), { webhook: 2, slack: 1 })
  t.strictSame(
    await values('sum by (status) (http_request_duration_seconds_count{route=~"/api/v1/publish.*"})', 'status'),
    { '2xx': 2, '4xx': 1 }
  )
  const [rate] = await prometheus.query(`sum(increase(${own}parallel_targets_failure_total[1m]))`)
  t.ok(rate!.value > 0, 'the very first failure already shows in a rate')

  const { alerts } = (await prometheus.api('alerts')) as { alerts: { labels: Record<string, string> }[] }
  t.match(alerts.find(({ labels }) => labels.alertname === 'AlertFanoutDeadLettersGrowing')?.labels, {
    namespace: 'test',
    target_name: 'bad',
    severity: 'warning'
  })

  const { panels } = dashboard() as { panels: { title: string; targets?: { expr: string }[] }[] }
  for (const { title, targets = [] } of panels) {
    for (const { expr } of targets) {
      const filled = expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(namespace|target)/g, '.*')
      await t.resolves(prometheus.query(filled), title)
    }
  }
})
