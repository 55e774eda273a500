import t from 'tap'
import { parse } from 'yaml'
import { Config } from '../../src/config.js'
import { env, podSpec, type Rendered, release, render, server, targetIn, variants, workload } from '../support/chart.js'
import { needs } from '../support/programs.js'

const tokens = [
  { name: 'alertmanager', role: 'publish', token: '0123456789abcdef0123456789abcdef' },
  { name: 'ops', role: 'admin', token: 'fedcba9876543210fedcba9876543210' }
]
const webhook = { type: 'webhook', url: 'http://receiver.payments.svc/' }

t.test('who may do what', async t => {
  if (!needs(t, 'helm')) return

  const rules = [
    { apiGroups: [''], resources: ['secrets'], verbs: ['get', 'list', 'watch'] },
    { apiGroups: [''], resources: ['events'], verbs: ['create'] }
  ]
  const subjects = [{ kind: 'ServiceAccount', name: 'rel-alert-fanout', namespace: 'monitoring' }]

  t.test('each watched namespace gets a Role that reads Secrets and writes Events, and no other', async t => {
    const objects = render({ config: { K8S_NAMESPACES: ' payments,monitoring, payments ' } })
    const roles = Object.values(objects).filter(object => object.apiVersion === 'rbac.authorization.k8s.io/v1')
    t.strictSame(roles.map(role => `${role.kind} ${role.metadata.namespace}/${role.metadata.name}`).sort(), [
      'Role monitoring/rel-alert-fanout',
      'Role payments/rel-alert-fanout-monitoring',
      'RoleBinding monitoring/rel-alert-fanout',
      'RoleBinding payments/rel-alert-fanout-monitoring'
    ])
    for (const role of roles.filter(({ kind }) => kind === 'Role')) t.strictSame(role.rules, rules)
    for (const binding of roles.filter(({ kind }) => kind === 'RoleBinding')) {
      t.strictSame(binding.subjects, subjects)
      t.strictSame(binding.roleRef, {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'Role',
        name: binding.metadata.name
      })
    }
    t.equal(env(objects).K8S_NAMESPACES, 'payments,monitoring')
  })

  t.test('a ClusterRole is made for * only', async t => {
    const objects = render({ config: { K8S_NAMESPACES: '*' } })
    t.strictSame(objects['ClusterRole rel-alert-fanout-monitoring']!.rules, rules)
    t.strictSame(objects['ClusterRoleBinding rel-alert-fanout-monitoring']!.subjects, subjects)
    t.notOk(objects[`Role ${release}`])
  })

  t.test('with targets from files the pod has no access to the API server', async t => {
    const objects = render({ config: { DISCOVERY: 'file' }, targets: { 'hook-a': webhook } })
    t.equal(podSpec(objects).automountServiceAccountToken, false)
    t.strictSame(
      Object.keys(objects).filter(id => /Role/.test(id)),
      []
    )
    t.strictSame(Object.keys(objects[`Secret ${release}-targets`]!.stringData), ['hook-a.yaml'])
    t.equal(env(objects).TARGETS_FILE, '/etc/alert-fanout/targets')
    t.match(podSpec(objects).volumes, [
      { name: 'targets', secret: { secretName: 'rel-alert-fanout-targets', defaultMode: 0o440 } }
    ])
    t.equal(podSpec(render({})).automountServiceAccountToken, true)
  })

  t.test('a target of the values becomes a Secret that the service itself can read and finds', async t => {
    const target = {
      ...webhook,
      enabled: false,
      auth: { type: 'bearer', token: 'a: "b" #c' },
      headers: { 'X-Team': 'ops' }
    }
    const objects = render({
      config: { K8S_LABEL_SELECTOR: 'team=ops,publishing-target==yes' },
      targets: { 'hook-a': target }
    })
    const secret = objects['Secret monitoring/hook-a']!
    t.match(secret.metadata.labels, { team: 'ops', 'publishing-target': 'yes' })
    const written = parse(secret.stringData.config)
    t.strictSame(written, target)
    t.equal(targetIn(secret), 'hook-a')
  })

  t.test('API tokens are a mounted file, and a changed one restarts the pods', async t => {
    const objects = render({ apiTokens: { tokens } })
    t.strictSame(objects[`Secret ${release}-tokens`]!.stringData, {
      tokens: tokens.map(token => `${token.name}:${token.role}:${token.token}\n`).join('')
    })
    t.equal(env(objects).API_TOKENS_FILE, '/etc/alert-fanout/tokens/tokens')
    t.match(server(objects).volumeMounts, [
      { name: 'data' },
      { name: 'tokens', mountPath: '/etc/alert-fanout/tokens', readOnly: true }
    ])
    const checksum = (objects: Record<string, Rendered>) =>
      workload(objects).spec.template.metadata.annotations['checksum/tokens']
    t.match(checksum(objects), /^[0-9a-f]{64}$/)
    t.not(checksum(render({ apiTokens: { tokens: tokens.slice(1) } })), checksum(objects))
    const existing = render({ apiTokens: { existingSecret: 'mine', key: 'list' } })
    t.match(podSpec(existing).volumes, [{ secret: { secretName: 'mine', items: [{ key: 'list', path: 'tokens' }] } }])
  })

  t.test('REDIS_URL in the values ends in a Secret, never in the pod', async t => {
    const objects = render({ config: { QUEUE: 'redis', REDIS_URL: 'redis://:hunter2@redis:6379/0' } })
    t.strictSame(objects[`Secret ${release}-redis`]!.stringData, { REDIS_URL: 'redis://:hunter2@redis:6379/0' })
    t.notMatch(JSON.stringify(workload(objects)), 'hunter2')
  })

  t.test('the network policy shuts out what the service refuses to connect to', async t => {
    const { spec } = render(variants.everything)[`NetworkPolicy ${release}`]!
    const shut = spec.egress[1].to.flatMap((peer: Rendered) => peer.ipBlock?.except ?? [])
    t.strictSame(shut.sort(), (Config.properties.EGRESS_DENY as { default?: string }).default!.split(',').sort())
    t.strictSame(spec.ingress[0].from.slice(1), variants.everything.networkPolicy.ingressFrom)
    t.strictSame(spec.egress[0], {
      ports: [
        { port: 53, protocol: 'UDP' },
        { port: 53, protocol: 'TCP' }
      ]
    })
  })
})
