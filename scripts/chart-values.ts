import Type, { type TProperties, type TSchema } from 'typebox'

const Names = (description: string) => Type.Record(Type.String(), Type.String(), { default: {}, description })
const Kubernetes = (description: string, defaults: object = {}) =>
  Type.Object({}, { additionalProperties: true, default: defaults, description })
const List = (description: string) =>
  Type.Array(Type.Object({}, { additionalProperties: true }), { default: [], description })
const Name = (description: string) => Type.String({ maxLength: 253, default: '', description })
/** A DNS label, or nothing. What names a Service has to begin with a letter. */
const Label = (first: string, description: string) =>
  Type.String({ pattern: `^(${first}([-a-z0-9]*[a-z0-9])?)?$`, maxLength: 63, default: '', description })
const Flag = (value: boolean, description: string) => Type.Boolean({ default: value, description })
const PortNumber = (value: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: 65535, default: value, description })
const Interval = (value: string, description: string) =>
  Type.String({ pattern: '^\\d+(ms|s|m|h)$', default: value, description })

/** For a number with a unit: apart from the pattern of its form, so that the error says what is missing. */
export const notZero = { allOf: [{ pattern: '[1-9]' }] }

/** A group of values: closed, so that a misspelt one is refused instead of ignored. */
const Group = <P extends TProperties>(description: string, properties: P) =>
  Type.Object(properties, { additionalProperties: false, description })

const Token = Type.Object(
  {
    name: Type.String({ pattern: '^[^:\\s#][^:\\s]*$', description: 'Whose token it is, for the log.' }),
    role: Type.Enum(['publish', 'read', 'admin']),
    token: Type.String({
      pattern: '^[!-~]{16,}$',
      description: 'At least 16 visible ASCII characters: openssl rand -hex 32'
    })
  },
  { additionalProperties: false }
)

const nonRoot = {
  runAsNonRoot: true,
  runAsUser: 1000,
  runAsGroup: 1000,
  fsGroup: 1000,
  fsGroupChangePolicy: 'OnRootMismatch',
  seccompProfile: { type: 'RuntimeDefault' }
}
const locked = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } }

/**
 * Every value of the chart, in the order in which values.yaml shows them. `config` is the schema of the service's own
 * configuration, `target` that of one target.
 */
export function chartValues(config: TSchema, target: TSchema) {
  return Type.Object(
    {
      global: Type.Optional(Kubernetes('Values of a parent chart; not read.')),
      nameOverride: Label('[a-z0-9]', 'Replaces the chart’s name in names and labels.'),
      fullnameOverride: Label('[a-z]', 'Replaces the name of all objects; cut to 52 characters.'),
      image: Group('The container image, built from the Dockerfile at the root of the repository.', {
        repository: Type.String({
          minLength: 1,
          default: 'alert-fanout',
          description: 'Where you pushed the image, with its registry.'
        }),
        tag: Type.String({ default: '', description: 'Default: the chart’s appVersion.' }),
        digest: Type.String({
          pattern: '^(sha256:[0-9a-f]{64})?$',
          default: '',
          description: 'Pins the image, instead of a tag.'
        }),
        pullPolicy: Type.Enum(['IfNotPresent', 'Always', 'Never'], {
          default: 'IfNotPresent',
          description: 'When the image is pulled.'
        })
      }),
      imagePullSecrets: List('Secrets for a private registry: `- name: ...`.'),
      config,
      targets: Type.Record(Type.String({ pattern: '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$' }), target, {
        additionalProperties: false,
        default: {},
        description:
          'Targets by name, each with the fields of docs/targets.md but its name. Every one becomes a labelled Secret, or with config.DISCOVERY=file a file. They stand in the release’s values: better write the Secrets yourself, see docs/kubernetes.md.',
        examples: [
          {
            'slack-ops': {
              type: 'slack',
              url: 'https://hooks.slack.com/services/...',
              filter: { severities: ['critical'] }
            }
          }
        ]
      }),
      targetsSecret: Name(
        'With config.DISCOVERY=file: an existing Secret with one target per key, such as `slack-ops.yaml`.'
      ),
      apiTokens: Group('Who may call the API. Without tokens everyone who reaches the Service may.', {
        tokens: Type.Array(Token, {
          default: [],
          description: 'Tokens to create a Secret with.',
          examples: [[{ name: 'alertmanager', role: 'publish', token: '...' }]]
        }),
        existingSecret: Name('An existing Secret instead, with one line `name:role:token` per token.'),
        key: Type.String({ minLength: 1, default: 'tokens', description: 'The key in that Secret.' })
      }),
      redis: Group('Where the shared queue lives, with config.QUEUE=redis.', {
        existingSecret: Name(
          'An existing Secret that holds the URL, `rediss://user:password@host:6379/0`. Or set config.REDIS_URL.'
        ),
        key: Type.String({ minLength: 1, default: 'REDIS_URL', description: 'The key in that Secret.' })
      }),
      replicas: Type.Integer({
        minimum: 1,
        maximum: 100,
        default: 1,
        description: 'More than one needs config.QUEUE=redis.'
      }),
      autoscaling: Group('HorizontalPodAutoscaler; needs config.QUEUE=redis.', {
        enabled: Flag(false, 'Whether to scale by CPU instead of `replicas`.'),
        minReplicas: Type.Integer({ minimum: 1, default: 2, description: 'Fewest pods.' }),
        maxReplicas: Type.Integer({ minimum: 1, default: 6, description: 'Most pods.' }),
        targetCPUUtilization: Type.Integer({
          minimum: 1,
          maximum: 100,
          default: 70,
          description: 'Percent of the CPU request.'
        })
      }),
      podDisruptionBudget: Group('Made with config.QUEUE=redis only: a single pod cannot be kept from moving.', {
        enabled: Flag(true, 'Whether to make one.'),
        maxUnavailable: Type.Integer({
          minimum: 1,
          default: 1,
          description: 'Pods that a node drain may take at once.'
        })
      }),
      persistence: Group('The volume of the embedded queue.', {
        enabled: Flag(true, 'Without it what is owed lives as long as the pod.'),
        existingClaim: Name('An existing PersistentVolumeClaim instead of one made by the StatefulSet.'),
        size: Type.String({
          pattern: '^\\d+(\\.\\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$',
          ...notZero,
          default: '2Gi',
          description: 'Size of the volume.'
        }),
        storageClass: Name('Default: the cluster’s.'),
        accessModes: Type.Array(Type.Enum(['ReadWriteOnce', 'ReadWriteOncePod']), {
          default: ['ReadWriteOnce'],
          minItems: 1,
          description: 'ReadWriteOncePod also lets Kubernetes refuse a second pod.'
        }),
        annotations: Names('Annotations of the claim.')
      }),
      service: Group('The Service in front of the pods.', {
        type: Type.Enum(['ClusterIP', 'NodePort', 'LoadBalancer'], {
          default: 'ClusterIP',
          description: 'Kind of Service.'
        }),
        port: PortNumber(8080, 'Its port.'),
        annotations: Names('Its annotations.')
      }),
      serviceAccount: Group('Who the pods are to the API server.', {
        create: Flag(true, 'Whether to make one.'),
        name: Name('Default: the release’s full name, or `default` where none is made.'),
        annotations: Names('Its annotations.')
      }),
      rbac: Group('A Role and binding in each namespace of config.K8S_NAMESPACES, or a ClusterRole for `*`.', {
        create: Flag(true, 'Whether to make them. Only with config.DISCOVERY=kubernetes.')
      }),
      networkPolicy: Group('Who may reach the pods, and what they may reach.', {
        enabled: Flag(false, 'Whether to make one.'),
        ingressFrom: List(
          'Peers that may reach the port; empty: all. Remember Alertmanager, Prometheus, and the nodes’ probes where your network plugin needs that.'
        ),
        egress: List('Egress rules besides DNS; empty: everything but link-local and metadata addresses.')
      }),
      serviceMonitor: Group('For the Prometheus Operator.', {
        enabled: Flag(false, 'Whether to make one.'),
        namespace: Name('Default: the release’s.'),
        labels: Names('Labels that your Prometheus selects by.'),
        interval: Interval('30s', 'How often to scrape.'),
        scrapeTimeout: Interval('10s', 'How long a scrape may take.')
      }),
      prometheusRule: Group('The alert rules of rules/alert-fanout.yaml, for the Prometheus Operator.', {
        enabled: Flag(false, 'Whether to make one.'),
        namespace: Name('Default: the release’s.'),
        labels: Names('Labels that your Prometheus selects by.')
      }),
      dashboard: Group('The dashboard of dashboards/alert-fanout.json as a ConfigMap for Grafana’s sidecar.', {
        enabled: Flag(false, 'Whether to make one.'),
        namespace: Name('Default: the release’s.'),
        labels: Type.Record(Type.String(), Type.String(), {
          default: { grafana_dashboard: '1' },
          description: 'Labels that the sidecar looks for.'
        }),
        annotations: Names('Its annotations, such as the folder.')
      }),
      resources: Kubernetes('Of the server container. No CPU limit: throttling shows as slow deliveries.', {
        requests: { cpu: '100m', memory: '128Mi' },
        limits: { memory: '1Gi' }
      }),
      podSecurityContext: Kubernetes(
        'Meets the restricted Pod Security Standard. On OpenShift set the ids to null.',
        nonRoot
      ),
      securityContext: Kubernetes('Of the containers; meets the restricted Pod Security Standard.', locked),
      podAnnotations: Names('Annotations of the pods.'),
      podLabels: Names('Labels of the pods.'),
      priorityClassName: Name('Alerts matter when a node is full: consider a high one.'),
      nodeSelector: Names('Nodes that may run the pods.'),
      tolerations: List('Taints that the pods tolerate.'),
      affinity: Kubernetes('Affinity of the pods.'),
      topologySpreadConstraints: List('Default with config.QUEUE=redis: spread over nodes where possible.'),
      extraEnv: List('Further environment variables, as in a container: NODE_EXTRA_CA_CERTS, say.'),
      extraVolumes: List('Further volumes of the pods.'),
      extraVolumeMounts: List('Further mounts of the server container.')
    },
    { additionalProperties: false }
  )
}
