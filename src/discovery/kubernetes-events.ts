import { createHash } from 'node:crypto'
import { cut } from '../targets/text.js'
import type { Invalid } from './contract.js'
import type { KubernetesApi } from './kubernetes-api.js'
import type { SecretObject } from './kubernetes-secret.js'

type Metadata = SecretObject['metadata']

/** The API takes at most 1024 bytes of message, of which a name in it may take its share. */
const messageMaxLength = 1000
const waitingMax = 100

/** What an Event says. */
interface Telling {
  readonly reason: 'InvalidTarget' | 'TargetWorks'
  readonly type: 'Normal' | 'Warning'
  readonly message: string
}

/**
 * Writes Kubernetes Events on Secrets: each once for a version of the Secret, over restarts and all replicas, since the
 * Event's name follows from the version. A failure is harmless.
 */
export function openEventWriter(api: KubernetesApi, signal: AbortSignal) {
  let told = new Set<string>()
  let waiting = 0
  let turn: Promise<void> = Promise.resolve()

  function write(metadata: Metadata, telling: Telling): boolean {
    if (waiting >= waitingMax) return false
    waiting++
    const path = `/api/v1/namespaces/${encodeURIComponent(metadata.namespace)}/events`
    turn = turn.then(() => api.post(path, eventFor(metadata, telling), signal)).catch(() => {})
    turn = turn.then(() => void waiting--)
    return true
  }

  return {
    /** On each Secret that is no valid target; takes all that is invalid now. */
    invalid(found: ReadonlyArray<{ metadata: Metadata; invalid: Invalid }>): void {
      const now = new Set<string>()
      for (const { metadata, invalid } of found) {
        const version = `${metadata.uid} ${metadata.resourceVersion}`
        if (told.has(version) || write(metadata, tellingOf(invalid))) now.add(version)
      }
      told = now
    },
    /** On a Secret that was changed since its target failed, and whose target takes alerts again. */
    works(metadata: Metadata): void {
      const message = 'Alerts are delivered with the new settings: what was owed to the target goes out'
      write(metadata, { reason: 'TargetWorks', type: 'Normal', message })
    }
  }
}

function tellingOf({ problems, stale }: Invalid): Telling {
  const text = problems.map(({ field, message }) => `${field} ${message}`).join('; ')
  const ending = stale ? ' (its last valid version stays in use)' : ''
  const message = `Not a valid target: ${cut(text, messageMaxLength - 100)}${ending}`
  return { reason: 'InvalidTarget', type: 'Warning', message }
}

function eventFor({ name, namespace, uid, resourceVersion }: Metadata, telling: Telling) {
  const now = new Date().toISOString()
  const hash = createHash('sha256').update(`${uid} ${resourceVersion} ${telling.reason}`).digest('hex').slice(0, 16)
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `${name.slice(0, 230)}.${hash}`, namespace },
    involvedObject: { apiVersion: 'v1', kind: 'Secret', namespace, name, uid, resourceVersion },
    ...telling,
    source: { component: 'alert-fanout' },
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1
  }
}
