import { createHash } from 'node:crypto'
import { cut } from '../targets/text.js'
import type { Invalid } from './contract.js'
import type { KubernetesApi } from './kubernetes-api.js'
import type { SecretObject } from './kubernetes-secret.js'

type Metadata = SecretObject['metadata']

/** The API takes at most 1024 bytes of message, of which a name in it may take its share. */
const messageMaxLength = 1000
const waitingMax = 100

/**
 * Writes a Kubernetes Event on each Secret that is no valid target: once for each version of it, over restarts and all
 * replicas, since the Event's name follows from the version. Call it with all that is invalid now. A failure is harmless.
 */
export function openEventWriter(api: KubernetesApi, signal: AbortSignal) {
  let told = new Set<string>()
  let waiting = 0
  let turn: Promise<void> = Promise.resolve()

  return (found: ReadonlyArray<{ metadata: Metadata; invalid: Invalid }>): void => {
    const now = new Set<string>()
    for (const { metadata, invalid } of found) {
      const version = `${metadata.uid} ${metadata.resourceVersion}`
      if (!told.has(version)) {
        if (waiting >= waitingMax) continue
        waiting++
        const path = `/api/v1/namespaces/${encodeURIComponent(metadata.namespace)}/events`
        turn = turn.then(() => api.post(path, eventFor(metadata, invalid), signal)).catch(() => {})
        turn = turn.then(() => void waiting--)
      }
      now.add(version)
    }
    told = now
  }
}

function eventFor({ name, namespace, uid, resourceVersion }: Metadata, { problems, stale }: Invalid) {
  const text = problems.map(({ field, message }) => `${field} ${message}`).join('; ')
  const ending = stale ? ' (its last valid version stays in use)' : ''
  const now = new Date().toISOString()
  const hash = createHash('sha256').update(`${uid} ${resourceVersion}`).digest('hex').slice(0, 16)
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `${name.slice(0, 230)}.${hash}`, namespace },
    involvedObject: { apiVersion: 'v1', kind: 'Secret', namespace, name, uid, resourceVersion },
    reason: 'InvalidTarget',
    message: `Not a valid target: ${cut(text, messageMaxLength - 100)}${ending}`,
    type: 'Warning',
    source: { component: 'alert-fanout' },
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1
  }
}
