import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { kubernetesDiscovery } from '../../src/discovery/kubernetes.js'
import { type Rendered, render } from '../support/chart.js'
import { until, watchLooks } from '../support/looks.js'
import { needs } from '../support/programs.js'

const label = { 'publishing-target': 'true' }
const hook = { type: 'webhook', url: 'http://127.0.0.1:1/' }

t.test('a cluster shows its targets to the chart’s ServiceAccount, and nothing else', async t => {
  if (!process.env.KUBECONFIG)
    return void t.pass('a cluster', { skip: 'no cluster: set KUBECONFIG to one where namespaces may be made' })
  if (!needs(t, 'helm')) return
  const { CoreV1Api, KubeConfig, RbacAuthorizationV1Api } = await import('@kubernetes/client-node')
  const admin = new KubeConfig()
  admin.loadFromDefault()
  const core = admin.makeApiClient(CoreV1Api)
  const rbac = admin.makeApiClient(RbacAuthorizationV1Api)

  const namespace = `alert-fanout-e2e-${randomBytes(4).toString('hex')}`
  const other = `${namespace}-other`
  for (const name of [namespace, other]) {
    await core.createNamespace({ body: { metadata: { name } } })
    t.teardown(() => core.deleteNamespace({ name }))
  }
  const objects: Rendered[] = Object.values(JSON.parse(JSON.stringify(render({})).replaceAll('monitoring', namespace)))
  const one = (kind: string) => objects.find(object => object.kind === kind)!
  await core.createNamespacedServiceAccount({ namespace, body: one('ServiceAccount') })
  await rbac.createNamespacedRole({ namespace, body: one('Role') as never })
  await rbac.createNamespacedRoleBinding({ namespace, body: one('RoleBinding') as never })

  const name = one('ServiceAccount').metadata.name
  const request = { spec: { audiences: [], expirationSeconds: 3600 } }
  const { status } = await core.createNamespacedServiceAccountToken({ name, namespace, body: request })
  const account = new KubeConfig()
  account.loadFromOptions({
    clusters: [admin.getCurrentCluster()],
    users: [{ name: 'account', token: status!.token }],
    contexts: [{ name: 'account', cluster: admin.getCurrentCluster()!.name, user: 'account', namespace }],
    currentContext: 'account'
  })
  const asAccount = account.makeApiClient(CoreV1Api)
  const secret = (name: string, stringData: Record<string, string>) => ({
    metadata: { name, labels: label },
    stringData
  })
  const apply = (name: string, stringData: Record<string, string>) =>
    core.replaceNamespacedSecret({ name, namespace, body: secret(name, stringData) })
  const create = (name: string, stringData: Record<string, string>) =>
    core.createNamespacedSecret({ namespace, body: secret(name, stringData) })

  t.test('targets appear, change, turn invalid and go', async t => {
    const before = process.env.KUBECONFIG
    process.env.KUBECONFIG = join(t.testdir(), 'kubeconfig')
    writeFileSync(process.env.KUBECONFIG, account.exportConfig(), { mode: 0o600 })
    t.teardown(() => {
      process.env.KUBECONFIG = before
    })
    const { events, found, names, latest, reports } = watchLooks()
    const options = { namespaces: [], labelSelector: 'publishing-target=true', refreshIntervalMs: 300_000 }
    const discovery = kubernetesDiscovery(options, events)
    t.teardown(() => discovery.stop())
    await create('first', hook)
    await discovery.start(found)
    t.strictSame(names(), ['first'])

    await create('second', { config: JSON.stringify(hook) })
    await until('second is there', () => names().join() === 'first,second')
    const [, second] = latest().targets
    await apply('second', { config: JSON.stringify({ ...hook, url: 'http://127.0.0.1:2/' }) })
    await until('second is another', () => latest().targets[1] !== second)

    await apply('second', { config: 'type: pigeon' })
    await until('second is told to be invalid', () => latest().invalid.length === 1)
    t.match(latest().invalid, [{ source: `Secret ${namespace}/second`, name: 'second', stale: true }])
    t.strictSame(names(), ['first', 'second'])
    const written = async () => {
      const { items } = await core.listNamespacedEvent({ namespace })
      return items.filter(event => event.reason === 'InvalidTarget').map(event => event.message)
    }
    for (let tries = 0; tries < 50 && (await written()).length === 0; tries++) await discovery.refresh()
    t.match(await written(), [/^Not a valid target: type is not a known target type/])

    await core.deleteNamespacedSecret({ name: 'second', namespace })
    await until('second is gone', () => names().join() === 'first')
    t.strictSame(latest().invalid, [])
    t.strictSame(
      reports.filter(({ error }) => error && error !== 'forbidden'),
      []
    )
  })

  const forbidden: [what: string, attempt: () => Promise<unknown>][] = [
    ['read the Secrets of another namespace', () => asAccount.listNamespacedSecret({ namespace: other })],
    ['read the Secrets of all namespaces', () => asAccount.listSecretForAllNamespaces()],
    ['create a Secret', () => asAccount.createNamespacedSecret({ namespace, body: secret('mine', hook) })],
    [
      'change a Secret',
      () => asAccount.replaceNamespacedSecret({ name: 'first', namespace, body: secret('first', hook) })
    ],
    ['delete a Secret', () => asAccount.deleteNamespacedSecret({ name: 'first', namespace })],
    ['read Events', () => asAccount.listNamespacedEvent({ namespace })],
    ['read pods', () => asAccount.listNamespacedPod({ namespace })]
  ]
  for (const [what, attempt] of forbidden) {
    t.test(`it may not ${what}`, async t => {
      await t.rejects(attempt(), { code: 403 })
    })
  }
})
