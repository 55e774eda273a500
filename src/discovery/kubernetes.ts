import { setTimeout as sleep } from 'node:timers/promises'
import type { Discovery, DiscoveryEvents, Snapshot } from './contract.js'
import { apiErrorOf, connectKubernetes, type KubernetesApi } from './kubernetes-api.js'
import { openEventWriter } from './kubernetes-events.js'
import { retryDelay, type SecretWatch, type Seen, watchSecrets } from './kubernetes-watch.js'
import { openPicture } from './snapshot.js'

/** Changes that come together are put into one picture. */
const gatherMs = 20

interface KubernetesOptions {
  /** `*` among them means all; none means the own one (of the service account, or of the kubeconfig's context). */
  namespaces: readonly string[]
  labelSelector: string
  /** Time between full lists, besides the watch. */
  refreshIntervalMs: number
}

/**
 * Finds targets in the Secrets of a Kubernetes cluster. It starts once every namespace was listed or refused, and at least
 * one listed; credentials that cannot be read then, and an API server that fails then or later, are tried again for ever,
 * with what is known staying as it is.
 */
export function kubernetesDiscovery(options: KubernetesOptions, events: DiscoveryEvents): Discovery {
  const { namespaces, labelSelector, refreshIntervalMs } = options
  const picture = openPicture()
  const stopping = new AbortController()
  let watches: SecretWatch[] = []
  let gathering: NodeJS.Timeout | undefined
  let begin = (_api: KubernetesApi) => {}
  let gather = () => {}
  let abandon = () => {}
  let works = (_target: string) => {}

  function start(found: (snapshot: Snapshot) => void): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      abandon = () => reject(new Error('discovery was stopped'))
      if (stopping.signal.aborted) return abandon()
      begin = api => {
        const build = builder(api, found)
        gather = () => {
          clearTimeout(gathering)
          gathering = undefined
          const states = watches.map(watch => watch.state())
          if (stopping.signal.aborted || states.includes('waiting') || !states.includes('listed')) return
          build()
          resolve()
        }
        const changed = () => {
          gathering ??= setTimeout(gather, gatherMs)
        }
        const places = namespaces.includes('*') ? ['*'] : namespaces.length > 0 ? new Set(namespaces) : [api.namespace]
        watches = [...places].map(namespace =>
          watchSecrets({ api, namespace, labelSelector, refreshIntervalMs, events, changed })
        )
      }
      void keepConnecting()
    })
  }

  function builder(api: KubernetesApi, found: (snapshot: Snapshot) => void): () => void {
    const tell = openEventWriter(api, stopping.signal)
    return () => {
      const seen = watches.flatMap(watch => [...watch.secrets()]).sort(olderFirst)
      const snapshot = picture(seen.map(({ entry }) => entry))
      found(snapshot)
      const metadataOf = new Map(seen.map(({ entry, metadata }) => [entry.source, metadata]))
      tell.invalid(snapshot.invalid.map(invalid => ({ invalid, metadata: metadataOf.get(invalid.source)! })))
      works = target => {
        const standing = seen.find(({ entry: { reading } }) => reading.ok && reading.value.name === target)
        if (standing) tell.works(standing.metadata)
      }
    }
  }

  /** What is mounted late mends itself. */
  async function keepConnecting(): Promise<void> {
    for (let failures = 0; watches.length === 0 && !stopping.signal.aborted; failures++) {
      try {
        await connect()
      } catch (thrown) {
        const { kind, message } = apiErrorOf(thrown)
        const retryMs = retryDelay(failures)
        const next = new Date(Date.now() + retryMs).toISOString()
        if (!stopping.signal.aborted) events.looked('list', 0, kind, `${message}; next try at ${next}`)
        await sleep(retryMs, undefined, { signal: stopping.signal }).catch(() => {})
      }
    }
  }

  /** Begins to watch, unless that was done meanwhile. */
  async function connect(): Promise<void> {
    const api = await connectKubernetes()
    if (watches.length === 0 && !stopping.signal.aborted) begin(api)
  }

  return {
    source: 'kubernetes',
    start,
    async refresh() {
      if (watches.length === 0) await connect()
      const refreshed = await Promise.allSettled(watches.map(watch => watch.relist()))
      gather()
      const failures = refreshed.flatMap(result => (result.status === 'rejected' ? [result.reason.message] : []))
      if (failures.length > 0) throw new Error(failures.join('; '))
    },
    works: target => works(target),
    async stop() {
      stopping.abort()
      abandon()
      clearTimeout(gathering)
      await Promise.all(watches.map(watch => watch.stop()))
    }
  }
}

function olderFirst({ metadata: a }: Seen, { metadata: b }: Seen): number {
  return (
    Date.parse(a.creationTimestamp) - Date.parse(b.creationTimestamp) ||
    compare(a.namespace, b.namespace) ||
    compare(a.name, b.name)
  )
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
