import { readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'

const tls = (file: string) => readFileSync(join(import.meta.dirname, '../fixtures/tls', file))

interface StoredSecret {
  apiVersion: 'v1'
  kind: 'Secret'
  metadata: {
    name: string
    namespace: string
    uid: string
    resourceVersion: string
    creationTimestamp: string
    labels: Record<string, string>
  }
  data: Record<string, string>
}

interface Change {
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  version: number
  object: StoredSecret
}

interface Watcher {
  response: ServerResponse
  matches: (secret: StoredSecret) => boolean
}

/** Answers a request itself and returns true, or leaves it to the server. */
type Intercept = (url: URL, response: ServerResponse, request: IncomingMessage) => boolean

/**
 * Speaks the part of the Kubernetes API that discovery uses, over TLS, with a bearer token: list by pages, watch from a
 * version with bookmarks, 410 for what is too old, and Events. `KUBECONFIG` points to it while the test runs.
 */
export async function startApiServer(t: Test) {
  const secrets = new Map<string, StoredSecret>()
  const changes: Change[] = []
  const watchers = new Set<Watcher>()
  const requests: string[] = []
  const posted: { path: string; body: { metadata: { name: string }; message: string; involvedObject: object } }[] = []
  const faults: { intercept?: Intercept } = {}
  let version = 100
  let oldest = 0
  let tokensExpired = false

  const server = createServer({ key: tls('server.key'), cert: tls('server.crt') }, (request, response) => {
    const url = new URL(request.url ?? '/', 'https://api')
    requests.push(`${request.method} ${url.pathname}${url.search}`)
    if (faults.intercept?.(url, response, request)) return
    if (request.headers.authorization !== 'Bearer let-me-in') return status(response, 401)
    const [, namespace, resource] = /^\/api\/v1\/(?:namespaces\/([^/]+)\/)?(secrets|events)$/.exec(url.pathname) ?? []
    if (resource === 'events' && request.method === 'POST') return void post(url.pathname, request, response)
    if (resource !== 'secrets' || request.method !== 'GET') return status(response, 404)
    const matches = selector(namespace, url.searchParams.get('labelSelector') ?? '')
    if (url.searchParams.get('watch') === 'true') watch(url, matches, response)
    else list(url, matches, response)
  })

  function list(url: URL, matches: Watcher['matches'], response: ServerResponse): void {
    const limit = Number(url.searchParams.get('limit') ?? 0) || Number.POSITIVE_INFINITY
    const token = url.searchParams.get('continue')
    if (token && tokensExpired) return void status(response, 410)
    const [at, from] = token ? Buffer.from(token, 'base64').toString().split(' ').map(Number) : [version, 0]
    const all = [...secrets.values()].filter(matches)
    const items = all.slice(from, from! + limit)
    const more = from! + limit < all.length
    const next = more ? { continue: Buffer.from(`${at} ${from! + limit}`).toString('base64') } : {}
    json(response, 200, {
      kind: 'SecretList',
      apiVersion: 'v1',
      metadata: { resourceVersion: `${at}`, ...next },
      items
    })
  }

  function watch(url: URL, matches: Watcher['matches'], response: ServerResponse): void {
    const from = Number(url.searchParams.get('resourceVersion'))
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
    if (from < oldest) return void response.end(line('ERROR', statusBody(410)))
    for (const { type, object } of changes.filter(({ version, object }) => version > from && matches(object))) {
      response.write(line(type, object))
    }
    const watcher = { response, matches }
    watchers.add(watcher)
    response.on('close', () => watchers.delete(watcher))
  }

  async function post(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = ''
    for await (const chunk of request.setEncoding('utf8')) text += chunk
    const body = JSON.parse(text)
    const known = posted.some(event => event.body.metadata.name === body.metadata.name)
    if (!known) posted.push({ path, body })
    json(response, known ? 409 : 201, body)
  }

  function change(type: Change['type'], object: StoredSecret): void {
    changes.push({ type, version, object })
    for (const { response, matches } of watchers) if (matches(object)) response.write(line(type, object))
  }

  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const kubeconfig = join(t.testdir({ kubeconfig: kubeconfigFor(port) }), 'kubeconfig')
  const before = process.env.KUBECONFIG
  process.env.KUBECONFIG = kubeconfig
  t.teardown(() => {
    if (before === undefined) delete process.env.KUBECONFIG
    else process.env.KUBECONFIG = before
    server.closeAllConnections()
    server.close()
  })

  return {
    requests,
    /** The Events that were written. */
    posted,
    faults,
    watchers: () => watchers.size,
    /** Creates or changes a Secret, with its values as plain text. */
    apply(
      name: string,
      values: Record<string, string | Buffer>,
      more: { namespace?: string; created?: string; labels?: object } = {}
    ) {
      const { namespace = 'ops', created = '2026-01-01T00:00:00Z', labels = { 'publishing-target': 'true' } } = more
      const key = `${namespace}/${name}`
      const old = secrets.get(key)
      version++
      const data = Object.fromEntries(Object.entries(values).map(([k, v]) => [k, Buffer.from(v).toString('base64')]))
      const metadata = {
        name,
        namespace,
        uid: old?.metadata.uid ?? `uid-${version}`,
        resourceVersion: `${version}`,
        creationTimestamp: old?.metadata.creationTimestamp ?? created,
        labels: { ...labels }
      }
      const secret: StoredSecret = { apiVersion: 'v1', kind: 'Secret', metadata, data }
      secrets.set(key, secret)
      change(old ? 'MODIFIED' : 'ADDED', secret)
    },
    remove(name: string, namespace = 'ops') {
      const secret = secrets.get(`${namespace}/${name}`)!
      version++
      secrets.delete(`${namespace}/${name}`)
      change('DELETED', { ...secret, metadata: { ...secret.metadata, resourceVersion: `${version}` } })
    },
    /** Tells every watcher the newest version. */
    bookmark() {
      version++
      for (const { response } of watchers) {
        response.write(
          line('BOOKMARK', {
            kind: 'Secret',
            apiVersion: 'v1',
            metadata: { resourceVersion: `${version}`, creationTimestamp: null }
          })
        )
      }
    },
    /** Forgets all changes up to now, so that watching from before is 410. */
    compact() {
      oldest = version
    },
    expireTokens() {
      tokensExpired = true
    },
    /** Writes text into every watch, as it is. */
    utter(text: string | Buffer) {
      for (const { response } of watchers) response.write(text)
    },
    endWatches() {
      for (const { response } of watchers) response.end()
    },
    breakConnections() {
      server.closeAllConnections()
    }
  }
}

/** An answer as the API server gives it where it refuses. */
export function status(response: ServerResponse, code: number, headers: Record<string, string> = {}): void {
  json(response, code, statusBody(code), headers)
}

export function json(
  response: ServerResponse,
  code: number,
  body: unknown,
  headers: Record<string, string> = {}
): void {
  response.writeHead(code, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

function statusBody(code: number): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Test', message: 'topsecret', code }
}

function line(type: string, object: object): string {
  return `${JSON.stringify({ type, object })}\n`
}

/** Equality terms (`a=b,c=d`) are all that is needed of label selectors. */
function selector(namespace: string | undefined, labelSelector: string): Watcher['matches'] {
  const terms = labelSelector.split(',').map(term => term.split('='))
  return ({ metadata }) =>
    (namespace === undefined || metadata.namespace === namespace) &&
    terms.every(([name = '', value]) => metadata.labels[name] === value)
}

function kubeconfigFor(port: number): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace: 'ops' } }],
    clusters: [
      {
        name: 'test',
        cluster: {
          server: `https://127.0.0.1:${port}`,
          'certificate-authority-data': tls('server.crt').toString('base64')
        }
      }
    ],
    users: [{ name: 'test', user: { token: 'let-me-in' } }]
  })
}

/** Points `KUBECONFIG` of the running test at another user or server. */
export function editKubeconfig(edit: (text: string) => string): void {
  const path = process.env.KUBECONFIG!
  writeFileSync(path, edit(readFileSync(path, 'utf8')))
}
