import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { secretEntry } from '../../src/discovery/kubernetes-secret.js'
import type { Problem } from '../../src/schema.js'

// `go install` puts helm where a shell's PATH may not look.
process.env.PATH += `:${process.env.GOPATH ?? `${process.env.HOME}/go`}/bin`

export const chart = fileURLToPath(new URL('../../helm/', import.meta.url))

// A helm that was built by `go install` takes itself for one of Kubernetes 1.20.
const rendering = ['--kube-version', '1.34.0', '--values', '-']

// biome-ignore lint/suspicious/noExplicitAny: rendered objects are walked freely, and checked by problemsOf
export type Rendered = Record<string, any>

/**
 * The objects that a release would consist of, by `Kind namespace/name`. Read as YAML 1.1, as helm and Kubernetes do:
 * an unquoted `on` is no text there. A key that stands twice is an error.
 */
export function render(values: object, path = chart, name = 'rel', namespace = 'monitoring'): Record<string, Rendered> {
  const text = execFileSync('helm', ['template', name, path, '--namespace', namespace, ...rendering], {
    input: stringify(values),
    encoding: 'utf8'
  })
  const documents = parseAllDocuments(text, { version: '1.1' })
  for (const { errors } of documents) if (errors[0]) throw errors[0]
  const objects = documents.flatMap(document => (document.contents ? [document.toJS() as Rendered] : []))
  return Object.fromEntries(objects.map(object => [idOf(object), object]))
}

function idOf({ kind, metadata }: Rendered): string {
  return `${kind} ${metadata.namespace ? `${metadata.namespace}/` : ''}${metadata.name}`
}

/** What helm says when it refuses values; empty if it takes them. */
export function refusal(values: object): string {
  const run = spawnSync('helm', ['template', 'rel', chart, '--namespace', 'monitoring', ...rendering], {
    input: stringify(values),
    encoding: 'utf8'
  })
  return run.status === 0 ? '' : run.stderr
}

/** What helm finds to complain of, warnings included; empty if nothing. */
export function lint(values: object): string {
  const args = ['lint', '--strict', chart, '--namespace', 'monitoring', '--values', '-']
  const run = spawnSync('helm', args, { input: stringify(values), encoding: 'utf8' })
  return run.status === 0 ? '' : run.stdout + run.stderr
}

/** The values files of `helm/ci`, by name, read as helm reads them. */
export const variants = Object.fromEntries(
  readdirSync(join(chart, 'ci')).map(file => [
    file.replace('-values.yaml', ''),
    parse(readFileSync(join(chart, 'ci', file), 'utf8'), { version: '1.1' })
  ])
)

/** `namespace/name` of the release's main objects. */
export const release = 'monitoring/rel-alert-fanout'
/** The labels of the serving pods. */
export const selector = {
  'app.kubernetes.io/name': 'alert-fanout',
  'app.kubernetes.io/instance': 'rel',
  'app.kubernetes.io/component': 'server'
}
export const workload = (objects: Record<string, Rendered>) =>
  objects[`StatefulSet ${release}`] ?? objects[`Deployment ${release}`]!
export const podSpec = (objects: Record<string, Rendered>) => workload(objects).spec.template.spec
export const server = (objects: Record<string, Rendered>) => podSpec(objects).containers[0]

/** The environment of the server; what comes from a Secret has a stand-in. */
export const env = (objects: Record<string, Rendered>): Record<string, string> =>
  Object.fromEntries(server(objects).env.map((entry: Rendered) => [entry.name, entry.value ?? 'redis://from-a-secret']))

/** What discovery makes of a Secret as it is written: its target's name, or what is wrong with it. */
export function targetIn({ metadata, stringData }: Rendered): string | Problem[] {
  const data = Object.fromEntries(
    Object.entries<string>(stringData).map(([key, text]) => [key, Buffer.from(text).toString('base64')])
  )
  const stored = { namespace: 'monitoring', uid: '1', resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' }
  const { reading } = secretEntry({ metadata: { ...stored, name: metadata.name }, data })
  return reading.ok ? reading.value.name : reading.problems
}
