import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { readConfig } from '../../src/config.js'
import { durationMs } from '../../src/schema.js'
import {
  chart,
  env,
  lint,
  podSpec,
  type Rendered,
  release,
  render,
  selector,
  server,
  variants,
  workload
} from '../support/chart.js'
import { problemsOf } from '../support/kubernetes-models.js'
import { needs } from '../support/programs.js'

const redis = { config: { QUEUE: 'redis' }, redis: { existingSecret: 'shared-redis' } }

t.test('the objects of a release', async t => {
  if (!needs(t, 'helm')) return

  for (const [variant, values] of Object.entries(variants)) {
    t.test(
      `variant ${variant} passes lint, Kubernetes’ own models and the service’s own configuration reader`,
      async t => {
        t.equal(lint(values), '')
        const objects = render(values)
        const known = Object.values(objects).filter(object => object.apiVersion !== 'monitoring.coreos.com/v1')
        t.strictSame(known.flatMap(problemsOf), [])
        const reading = readConfig(env(objects))
        t.strictSame(reading.ok ? [] : reading.problems, [])
      }
    )

    t.test(`variant ${variant} meets the restricted Pod Security Standard`, async t => {
      const objects = render(values)
      for (const spec of [podSpec(objects), objects[`Pod ${release}-test`]!.spec]) {
        t.match(spec.securityContext, {
          runAsNonRoot: true,
          runAsUser: 1000,
          seccompProfile: { type: 'RuntimeDefault' }
        })
        t.strictSame(spec.containers[0].securityContext, {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          readOnlyRootFilesystem: true
        })
        t.notOk(spec.hostNetwork || spec.hostPID || spec.hostIPC || spec.initContainers)
        const kinds = (spec.volumes ?? []).flatMap(({ name: _, ...source }: Rendered) => Object.keys(source))
        t.strictSame(
          kinds.filter((kind: string) => !['secret', 'emptyDir', 'persistentVolumeClaim'].includes(kind)),
          []
        )
      }
    })
  }

  t.test('the embedded queue runs as one pod with its own volume', async t => {
    const objects = render({})
    t.strictSame(Object.keys(objects).sort(), [
      `Pod ${release}-test`,
      `Role ${release}`,
      `RoleBinding ${release}`,
      `Service ${release}`,
      `Service ${release}-headless`,
      `ServiceAccount ${release}`,
      `StatefulSet ${release}`
    ])
    const { spec } = objects[`StatefulSet ${release}`]!
    t.equal(spec.replicas, 1)
    t.equal(spec.serviceName, 'rel-alert-fanout-headless')
    t.strictSame(spec.volumeClaimTemplates, [
      {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: 'data', labels: selector },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '2Gi' } } }
      }
    ])
    t.strictSame(server(objects).volumeMounts, [{ name: 'data', mountPath: '/data' }])
    t.strictSame(env(objects), {
      DISCOVERY: 'kubernetes',
      K8S_NAMESPACES: 'monitoring',
      QUEUE: 'embedded',
      QUEUE_DIR: '/data'
    })
  })

  t.test('the volume follows QUEUE_DIR, and may be an existing claim or none', async t => {
    const existing = render({ config: { QUEUE_DIR: '/queue' }, persistence: { existingClaim: 'mine' } })
    t.strictSame(server(existing).volumeMounts, [{ name: 'data', mountPath: '/queue' }])
    t.strictSame(podSpec(existing).volumes, [{ name: 'data', persistentVolumeClaim: { claimName: 'mine' } }])
    t.notOk(workload(existing).spec.volumeClaimTemplates)
    const none = render({ persistence: { enabled: false } })
    t.strictSame(podSpec(none).volumes, [{ name: 'data', emptyDir: {} }])
    t.notOk(workload(none).spec.volumeClaimTemplates)
  })

  t.test('the Redis queue runs as a Deployment that scales', async t => {
    const objects = render({ ...redis, replicas: 3, podDisruptionBudget: { maxUnavailable: 2 } })
    const { spec } = objects[`Deployment ${release}`]!
    t.equal(spec.replicas, 3)
    t.match(objects[`PodDisruptionBudget ${release}`]!.spec, { maxUnavailable: 2, selector: { matchLabels: selector } })
    t.strictSame(spec.template.spec.topologySpreadConstraints[0].labelSelector.matchLabels, selector)
    t.strictSame(server(objects).env.at(-1), {
      name: 'REDIS_URL',
      valueFrom: { secretKeyRef: { name: 'shared-redis', key: 'REDIS_URL' } }
    })
    t.notOk(server(objects).volumeMounts)
  })

  t.test('an autoscaler decides the replicas where there is one', async t => {
    const objects = render({ ...redis, autoscaling: { enabled: true, minReplicas: 2, maxReplicas: 9 } })
    t.notOk('replicas' in workload(objects).spec)
    t.match(objects[`HorizontalPodAutoscaler ${release}`]!.spec, {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'rel-alert-fanout' },
      minReplicas: 2,
      maxReplicas: 9
    })
  })

  t.test('without a queue it is one pod without a volume', async t => {
    const objects = render(variants.off)
    t.equal(objects[`Deployment ${release}`]!.spec.replicas, 1)
    t.equal(env(objects).QUEUE, 'off')
    t.notOk(podSpec(objects).volumes)
    t.notOk(objects[`PodDisruptionBudget ${release}`])
  })

  t.test('every selector finds the serving pods and not the test pod', async t => {
    const objects = render(variants.everything)
    const selectors = {
      workload: workload(objects).spec.selector.matchLabels,
      service: objects[`Service ${release}`]!.spec.selector,
      budget: objects[`PodDisruptionBudget ${release}`]!.spec.selector.matchLabels,
      policy: objects[`NetworkPolicy ${release}`]!.spec.podSelector.matchLabels
    }
    for (const [who, labels] of Object.entries(selectors)) t.strictSame(labels, selector, who)
    t.match(workload(objects).spec.template.metadata.labels, selector)
    t.notMatch(objects[`Pod ${release}-test`]!.metadata.labels, selector)
  })

  t.test('the ServiceMonitor selects one Service, not the headless one', async t => {
    const objects = render({ serviceMonitor: { enabled: true, labels: { release: 'prometheus' } } })
    const monitor = objects[`ServiceMonitor ${release}`]!
    t.equal(monitor.metadata.labels.release, 'prometheus')
    t.match(objects[`Service ${release}`]!.metadata.labels, monitor.spec.selector.matchLabels)
    t.notMatch(objects[`Service ${release}-headless`]!.metadata.labels, monitor.spec.selector.matchLabels)
    t.strictSame(monitor.spec.endpoints, [{ port: 'http', path: '/metrics', interval: '30s', scrapeTimeout: '10s' }])
    t.equal(objects[`Service ${release}`]!.spec.ports[0].name, 'http')
  })

  t.test('names stay texts where YAML would read a number', async t => {
    const named = (name: string) => {
      const variations = [
        {
          config: { QUEUE: 'redis', REDIS_URL: 'redis://a', K8S_NAMESPACES: `${name},a` },
          redis: { key: name },
          autoscaling: { enabled: true },
          networkPolicy: { enabled: true, ingressFrom: [{ podSelector: {} }] }
        },
        { persistence: { existingClaim: name }, apiTokens: { existingSecret: name, key: name } },
        { config: { DISCOVERY: 'file' }, targetsSecret: name, serviceAccount: { create: false, name } },
        {
          targets: { [name]: { type: 'webhook', url: 'http://receiver.payments.svc/' } },
          config: { K8S_LABEL_SELECTOR: `${name}=${name}` },
          apiTokens: { tokens: [{ name, role: 'read', token: '0123456789abcdef' }], key: name },
          persistence: { size: '1000000000' }
        }
      ]
      const common = {
        nameOverride: name,
        image: { repository: name, tag: '45' },
        priorityClassName: name,
        podLabels: { team: name }
      }
      const monitors = Object.fromEntries(
        ['serviceMonitor', 'prometheusRule', 'dashboard'].map(each => [each, { enabled: true, namespace: name }])
      )
      const objects = variations.map(values => render({ ...common, ...monitors, ...values }, chart, name, name))
      const known = objects.flatMap(each => Object.values(each)).filter(({ apiVersion }) => !/coreos/.test(apiVersion))
      t.strictSame(known.flatMap(problemsOf), [])
      return JSON.parse(
        JSON.stringify(objects)
          .replaceAll(name, 'name')
          .replace(/("checksum\/\w+":)"\w+"/g, '$1""')
      )
    }
    const letters = named('abcdefg')
    for (const digits of ['7777777', '77e77', '0x77777']) t.same(named(digits), letters, digits)
  })

  t.test('labels of the values replace the chart’s, but not those that selectors go by', async t => {
    const labels = {
      'app.kubernetes.io/name': 'mine',
      'app.kubernetes.io/component': 'test',
      'app.kubernetes.io/version': 'mine',
      team: ''
    }
    const podAnnotations = { 'kubectl.kubernetes.io/default-container': 'proxy' }
    const on = { enabled: true, labels }
    const values = { podLabels: labels, podAnnotations, serviceMonitor: on, prometheusRule: on, dashboard: on }
    const objects = render({
      ...values,
      config: { K8S_LABEL_SELECTOR: 'app.kubernetes.io/name=mine' },
      targets: { 'hook-a': { type: 'webhook', url: 'http://receiver.payments.svc/' } }
    })
    const { metadata } = workload(objects).spec.template
    t.strictSame(metadata.labels, { ...selector, 'app.kubernetes.io/version': 'mine', team: '' })
    t.strictSame(metadata.annotations, podAnnotations)
    for (const id of [`ServiceMonitor ${release}`, `PrometheusRule ${release}`, `ConfigMap ${release}-dashboard`])
      t.match(objects[id]!.metadata.labels, { ...labels, 'app.kubernetes.io/instance': 'rel' })
    t.equal(objects['Secret monitoring/hook-a']!.metadata.labels['app.kubernetes.io/name'], 'mine')
    const without = render({ podLabels: null, dashboard: { enabled: true, labels: null } })
    t.match(without[`ConfigMap ${release}-dashboard`]!.metadata.labels, selector)
  })

  t.test('the pod is given longer to stop than the service takes to drain', async t => {
    for (const [DRAIN_TIMEOUT, seconds] of Object.entries({ '500ms': 16, '20s': 35, '1.5m': 105, '1h': 3615 })) {
      t.equal(podSpec(render({ config: { DRAIN_TIMEOUT } })).terminationGracePeriodSeconds, seconds)
      t.ok(seconds * 1000 > durationMs(DRAIN_TIMEOUT)!)
    }
    t.equal(podSpec(render({})).terminationGracePeriodSeconds, 35)
  })

  t.test('and is sent nobody any more before it stops', async t => {
    const { preStop } = server(render({})).lifecycle
    const [command, ...args] = preStop.exec.command
    const [code] = await once(spawn(command, args), 'exit')
    t.equal(code, 0)
  })

  t.test('probes ask the routes of the contract', async t => {
    const { startupProbe, livenessProbe, readinessProbe, ports } = server(render({ config: { PORT: 9000 } }))
    t.strictSame(
      [startupProbe, livenessProbe, readinessProbe].map(probe => probe.httpGet),
      [
        { path: '/healthz', port: 'http' },
        { path: '/healthz', port: 'http' },
        { path: '/readyz', port: 'http' }
      ]
    )
    t.strictSame(ports, [{ name: 'http', containerPort: 9000, protocol: 'TCP' }])
  })

  t.test('rules and dashboard are those that the repository tests', async t => {
    const objects = render(variants.everything)
    t.strictSame(
      objects[`PrometheusRule ${release}`]!.spec,
      parse(readFileSync(join(chart, 'rules/alert-fanout.yaml'), 'utf8'))
    )
    const { metadata, data } = objects[`ConfigMap ${release}-dashboard`]!
    t.match(metadata, { labels: { grafana_dashboard: '1' }, annotations: { grafana_folder: 'Alerting' } })
    t.strictSame(
      JSON.parse(data['rel-alert-fanout.json']),
      JSON.parse(readFileSync(join(chart, 'dashboards/alert-fanout.json'), 'utf8'))
    )
  })

  t.test('an image digest goes before its tag', async t => {
    const digest = `sha256:${'0'.repeat(64)}`
    t.equal(
      server(render({ image: { repository: 'registry.example.com/a', tag: '2' } })).image,
      'registry.example.com/a:2'
    )
    t.equal(
      server(render({ image: { repository: 'registry.example.com/a', tag: '2', digest } })).image,
      `registry.example.com/a@${digest}`
    )
  })

  t.test('helm test passes on a ready service and fails on another', async t => {
    const { command, args, env } = render({})[`Pod ${release}-test`]!.spec.containers[0]
    t.strictSame(env, [{ name: 'SERVICE_URL', value: 'http://rel-alert-fanout.monitoring.svc:8080' }])
    t.equal(command[0], 'node')
    for (const readiness of [200, 503]) {
      const asked: string[] = []
      const service = createServer((request, answer) => {
        asked.push(request.url!)
        answer.writeHead(request.url === '/readyz' ? readiness : 200).end()
      }).listen(0)
      t.teardown(() => service.close())
      await once(service, 'listening')
      const SERVICE_URL = `http://127.0.0.1:${(service.address() as AddressInfo).port}`
      const pod = spawn(process.execPath, [...command.slice(1), ...args], { env: { SERVICE_URL }, stdio: 'ignore' })
      const [code] = await once(pod, 'exit')
      t.equal(code, readiness === 200 ? 0 : 1)
      t.strictSame(asked, ['/healthz', '/readyz', '/metrics'])
    }
  })
})
