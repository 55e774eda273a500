import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { type Rendered, refusal, release, render, server, targetIn } from '../support/chart.js'
import { needs } from '../support/programs.js'

const page = readFileSync(new URL('../../docs/kubernetes.md', import.meta.url), 'utf8')
const blocks = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(match => match[1]!)
const objects = blocks.filter(block => block.startsWith('apiVersion:')).map(block => parse(block) as Rendered)
const ofKind = (kind: string) => objects.filter(object => object.kind === kind)

t.test('every target on the page is one', async t => {
  const secrets = ofKind('Secret')
  t.strictSame(
    secrets.map(secret => secret.metadata.name),
    ['slack-ops', 'pagerduty-oncall']
  )
  for (const secret of secrets) {
    t.strictSame(secret.metadata.labels, { 'publishing-target': 'true' })
    t.strictSame(targetIn(secret), secret.metadata.name)
  }
})

t.test('what the operators write would be targets', async t => {
  const [external, sealed] = [ofKind('ExternalSecret')[0]!, ofKind('SealedSecret')[0]!]
  const { template } = external.spec.target
  for (const { metadata } of [template, sealed.spec.template])
    t.strictSame(metadata.labels, { 'publishing-target': 'true' })
  const config = template.data.config.replace('{{ .url | quote }}', '"https://hooks.slack.com/services/T/B/X"')
  t.equal(targetIn({ metadata: { name: 'slack-ops' }, stringData: { config } }), 'slack-ops')
  t.strictSame(Object.keys(sealed.spec.encryptedData), ['config'])
})

t.test('the chart takes the page’s values and makes the names that it tells', async t => {
  if (!needs(t, 'helm')) return
  const values = blocks.filter(block => block.startsWith('# values.yaml')).map(block => parse(block))
  t.equal(values.length, 4)
  for (const each of values) t.equal(refusal(each), '')
  const named = render({ ...values[0], fullnameOverride: 'alert-fanout' })
  const { name, namespace } = named['Service monitoring/alert-fanout']!.metadata
  const [receiver] = ofKind('AlertmanagerConfig')[0]!.spec.receivers
  t.equal(receiver.webhookConfigs[0].url, `http://${name}.${namespace}.svc:8080/api/v1/publish/parallel/all`)
  t.ok(server(render(values[0])).volumeMounts.some((mount: Rendered) => mount.name === 'tokens'))
  t.ok(render(values[3])[`HorizontalPodAutoscaler ${release}`])
})
