import { setTimeout as sleep } from 'node:timers/promises'
import type { DiscoveryEvents } from './contract.js'
import { ApiError, apiErrorOf, type KubernetesApi } from './kubernetes-api.js'
import { isSecret, type SecretObject, secretEntry } from './kubernetes-secret.js'
import type { Entry } from './snapshot.js'

const pageSize = 100
/** Retries wait for the floor and a random part of base × 2^n, up to the cap. */
const retryFloorMs = 100
const retryBaseMs = 500
const retryCapMs = 30_000
/** The server is asked to end a watch after this time, and left a little later if it does not. */
const watchSeconds = 290
const watchMs = 300_000
/** A watch that ends sooner than this counts as failed; one that failed before works again once it is open for so long. */
const calmMs = 1_000

/** A Secret that was seen, and what was read from it. */
export interface Seen {
  readonly metadata: SecretObject['metadata']
  readonly entry: Entry
}

interface WatchOptions {
  api: KubernetesApi
  /** `*` for all. */
  namespace: string
  labelSelector: string
  refreshIntervalMs: number
  events: DiscoveryEvents
  /** Called after each change of `secrets()` or `state()`. */
  changed: () => void
}

/** A list and watch of one namespace's Secrets that mends itself until it is stopped. */
export interface SecretWatch {
  /** `denied`: it was never allowed to list. Once `listed` it stays so, whatever becomes of the API server. */
  state(): 'waiting' | 'denied' | 'listed'
  secrets(): Iterable<Seen>
  /** Lists everything anew, now. Rejects with a message that is safe to show. */
  relist(): Promise<void>
  stop(): Promise<void>
}

interface Waiter {
  resolve: () => void
  reject: (error: unknown) => void
}

/** Starts to list and watch. Failures are reported and tried again; each report tells when. */
export function watchSecrets(options: WatchOptions): SecretWatch {
  const { api, namespace, labelSelector, refreshIntervalMs, events, changed } = options
  const where = namespace === '*' ? 'all namespaces' : `namespace ${namespace}`
  const path = namespace === '*' ? '/api/v1/secrets' : `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`
  const stopping = new AbortController()
  /** Ends a watch or a pause that must give way to a list. */
  let nap = new AbortController()
  let state: 'waiting' | 'denied' | 'listed' = 'waiting'
  let secrets = new Map<string, Seen>()
  /** From where to watch; undefined if only a list can tell. */
  let version: string | undefined
  let listAt = 0
  const waiters: Waiter[] = []
  const failures = { list: 0, watch: 0 }
  const running = run()

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      if (version === undefined || waiters.length > 0 || Date.now() >= listAt) {
        const retryMs = await attempt('list', list)
        listAt = Date.now() + (retryMs ?? refreshIntervalMs)
      }
      if (version === undefined) await pause(listAt - Date.now())
      else if (waiters.length === 0) {
        const retryMs = await attempt('watch', watch)
        if (retryMs !== undefined) await pause(retryMs)
      }
    }
  }

  /** Undefined if it went well, else how long to wait before the next attempt, in milliseconds. */
  async function attempt(operation: 'list' | 'watch', work: () => Promise<void>): Promise<number | undefined> {
    if (stopping.signal.aborted) return
    const began = performance.now()
    const served = operation === 'list' ? waiters.splice(0) : []
    try {
      await work()
      failures[operation] = 0
      events.looked(operation, performance.now() - began)
      for (const { resolve } of served) resolve()
      return
    } catch (thrown) {
      const error = apiErrorOf(thrown)
      for (const { reject } of served) reject(new ApiError(error.kind, `${where}: ${error.message}`))
      if (stopping.signal.aborted) return
      const lastedMs = performance.now() - began
      if (operation === 'watch' && lastedMs >= calmMs) failures.watch = 0
      // What was missed between here and there, only a list can tell.
      if (operation === 'watch' && (error.kind === 'gone' || error.kind === 'invalid')) version = undefined
      const retryMs = Math.max(error.retryAfterMs, retryDelay(failures[operation]++))
      const next = new Date(Date.now() + retryMs).toISOString()
      events.looked(operation, lastedMs, error.kind, `${where}: ${error.message}; next try at ${next}`)
      if (operation === 'list' && error.kind === 'forbidden' && state === 'waiting') {
        state = 'denied'
        changed()
      }
      return retryMs
    }
  }

  async function list(): Promise<void> {
    const listed = await listPages(pageSize).catch(error => {
      // The continue token grew too old: once more in one go, as kubectl does.
      if (error instanceof ApiError && error.kind === 'gone') return listPages(0)
      throw error
    })
    ;({ secrets, version } = listed)
    state = 'listed'
    changed()
  }

  async function listPages(limit: number): Promise<{ secrets: Map<string, Seen>; version: string }> {
    const fresh = new Map<string, Seen>()
    for (let token = ''; ; ) {
      const query = new URLSearchParams({ labelSelector })
      if (limit > 0) query.set('limit', String(limit))
      if (token) query.set('continue', token)
      const { items, metadata } = asList(await api.get(`${path}?${query}`, stopping.signal))
      for (const secret of items) see(secret, fresh)
      if (!metadata.continue) return { secrets: fresh, version: metadata.resourceVersion }
      if (metadata.continue === token) throw new ApiError('invalid', 'the API server repeats a page')
      token = metadata.continue
    }
  }

  async function watch(): Promise<void> {
    nap = new AbortController()
    const began = performance.now()
    const timer = setTimeout(() => nap.abort(), Math.min(listAt - Date.now(), watchMs))
    let calm: NodeJS.Timeout | undefined
    // Until it ends may take minutes, in which everybody would be told that it fails.
    const opened = () => {
      if (failures.watch > 0) calm = setTimeout(works, calmMs)
    }
    const works = () => {
      failures.watch = 0
      events.looked('watch', performance.now() - began)
    }
    const query = new URLSearchParams({ labelSelector, watch: 'true', allowWatchBookmarks: 'true' })
    query.set('resourceVersion', version!)
    query.set('timeoutSeconds', String(watchSeconds))
    try {
      for await (const event of api.watch(`${path}?${query}`, nap.signal, opened)) take(event)
    } catch (error) {
      if (!nap.signal.aborted) throw error
    } finally {
      clearTimeout(timer)
      clearTimeout(calm)
    }
    const endedEarly = !nap.signal.aborted && performance.now() - began < calmMs
    if (endedEarly) throw new ApiError('other', 'the API server ended the watch at once')
  }

  function take(event: unknown): void {
    const { type, object } = (event ?? {}) as {
      type?: unknown
      object?: { code?: number; metadata?: Partial<Metadata> }
    }
    if (type === 'ERROR') {
      throw new ApiError(
        object?.code === 410 ? 'gone' : 'other',
        `the API server ended the watch with ${Number(object?.code)}`
      )
    }
    if (type !== 'BOOKMARK') {
      if (!isSecret(object) || !isChange(type)) throw notTheProtocol()
      if (type === 'DELETED') secrets.delete(keyOf(object))
      else see(object, secrets)
      changed()
    }
    if (typeof object?.metadata?.resourceVersion !== 'string') throw notTheProtocol()
    version = object.metadata.resourceVersion
  }

  /** Reads a Secret, unless this version of it was read before. */
  function see(secret: SecretObject, into: Map<string, Seen>): void {
    const { metadata } = secret
    const before = secrets.get(keyOf(secret))
    const same = before?.metadata.uid === metadata.uid && before.metadata.resourceVersion === metadata.resourceVersion
    into.set(keyOf(secret), same ? before : { metadata, entry: secretEntry(secret) })
  }

  async function pause(ms: number): Promise<void> {
    if (stopping.signal.aborted || waiters.length > 0) return
    nap = new AbortController()
    await sleep(Math.max(ms, 0), undefined, { signal: nap.signal }).catch(() => {})
  }

  return {
    state: () => state,
    secrets: () => secrets.values(),
    relist() {
      const relisted = new Promise<void>((resolve, reject) => waiters.push({ resolve, reject }))
      nap.abort()
      return relisted
    },
    async stop() {
      stopping.abort()
      nap.abort()
      await running
      for (const { reject } of waiters.splice(0)) reject(new ApiError('other', `${where}: discovery was stopped`))
    }
  }
}

/** Milliseconds to wait after so many failures before this one: longer and longer, and never the same for two. */
export function retryDelay(failures: number): number {
  return retryFloorMs + Math.random() * Math.min(retryCapMs, retryBaseMs * 2 ** failures)
}

interface Metadata {
  readonly resourceVersion: string
  readonly continue?: string
}

function asList(answer: unknown): { items: SecretObject[]; metadata: Metadata } {
  const { items, metadata } = (answer ?? {}) as { items?: unknown; metadata?: Partial<Metadata> }
  const secrets = items ?? []
  const whole = typeof metadata?.resourceVersion === 'string' && Array.isArray(secrets) && secrets.every(isSecret)
  if (items === undefined || !whole) throw notTheProtocol()
  return { items: secrets, metadata: metadata as Metadata }
}

function isChange(type: unknown): boolean {
  return type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED'
}

function keyOf({ metadata }: SecretObject): string {
  return `${metadata.namespace}/${metadata.name}`
}

function notTheProtocol(): ApiError {
  return new ApiError('invalid', 'the API server sent something that is not of its protocol')
}
