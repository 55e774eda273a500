import http, { type IncomingMessage, type RequestOptions } from 'node:http'
import https from 'node:https'

const requestTimeoutMs = 30_000
const retryAfterMaxMs = 300_000
/** A Secret holds at most 1 MiB, which base64 and JSON make longer. */
const lineMaxLength = 8 * 1024 * 1024

/** What went wrong with the API server, in words that are safe to show: no header, no body, no credential. */
export class ApiError extends Error {
  constructor(
    readonly kind: 'unreachable' | 'forbidden' | 'invalid' | 'gone' | 'other',
    message: string,
    /** The answer's own `Retry-After`, in milliseconds. */
    readonly retryAfterMs = 0
  ) {
    super(message)
  }
}

/** What was thrown as an `ApiError`. Of a bug only its class is told: what its message quotes is not known. */
export function apiErrorOf(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown
  return new ApiError('other', `a bug stopped it (${thrown instanceof Error ? thrown.name : typeof thrown})`)
}

/** The few requests that discovery needs. Paths start with `/api`; every failure is an `ApiError`. */
export interface KubernetesApi {
  /** The namespace of the service account, or of the kubeconfig's context. */
  readonly namespace: string
  get(path: string, signal: AbortSignal): Promise<unknown>
  /** The events of a watch, one by one, until the server or the signal ends it. `opened` is called before the first. */
  watch(path: string, signal: AbortSignal, opened: () => void): AsyncGenerator<unknown>
  post(path: string, body: unknown, signal: AbortSignal): Promise<void>
}

type Options = RequestOptions & { body?: string; signal: AbortSignal }

/**
 * Connects by what KUBECONFIG, `~/.kube/config` or the pod's service account says, in this order. The client library does
 * the credentials and TLS; its import costs a second, so it happens here and only when it is needed. Its own list, watch
 * and informer are not used: they hide failed lists and statuses, and know no time limit.
 */
export async function connectKubernetes(): Promise<KubernetesApi> {
  const { KubeConfig } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  try {
    config.loadFromDefault()
  } catch (error) {
    throw new ApiError('invalid', `the kubeconfig cannot be loaded (${wordFor(error)})`)
  }
  // The library's last resort is localhost:8080, where this very service may listen.
  if (config.getCurrentContext() === 'loaded-context')
    throw new ApiError('invalid', 'there is no kubeconfig and no service account')
  const server = config.getCurrentCluster()?.server
  if (!server || !URL.canParse(server)) throw new ApiError('invalid', 'the kubeconfig names no API server')

  async function request(path: string, { body, ...rest }: Options): Promise<IncomingMessage> {
    const options = { ...rest, headers: { accept: 'application/json', 'user-agent': 'alert-fanout', ...rest.headers } }
    try {
      await config.applyToHTTPSOptions(options)
    } catch (error) {
      throw new ApiError('other', `the credentials for the API server cannot be used (${wordFor(error)})`)
    }
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = (server!.startsWith('http:') ? http : https).request(new URL(server + path), options, resolve)
      const inTime = deadline(sent)
      sent.on('error', reject).on('response', inTime).on('close', inTime)
      // A peer that is gone without a word must be noticed while nothing is expected from it.
      sent.setSocketKeepAlive(true, 15_000)
      sent.end(body)
    })
    const { statusCode = 0 } = answer
    if (statusCode >= 200 && statusCode < 300) return answer
    answer.destroy()
    throw refusal(statusCode, answer.headers['retry-after'])
  }

  return {
    namespace: config.getContextObject(config.getCurrentContext())?.namespace?.trim() || 'default',
    get: (path, signal) => guarded(async () => parse(await textOf(await request(path, { signal })))),
    async *watch(path, signal, opened) {
      const answer = await guarded(() => request(path, { signal }))
      opened()
      try {
        const chunks = answer.setEncoding('utf8')[Symbol.asyncIterator]()
        for (let rest = ''; ; ) {
          const { done, value } = await guarded(() => chunks.next())
          if (done) return
          const lines = (rest + value).split('\n')
          rest = lines.pop() ?? ''
          if (rest.length > lineMaxLength) throw garbled()
          for (const line of lines) if (line.trim() !== '') yield parse(line)
        }
      } finally {
        answer.destroy()
      }
    },
    post: (path, body, signal) =>
      guarded(async () => {
        const headers = { 'content-type': 'application/json' }
        const options = { method: 'POST', headers, signal, body: JSON.stringify(body) }
        await textOf(await request(path, options))
      })
  }
}

async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof ApiError) throw error
    throw new ApiError('unreachable', `the API server cannot be reached (${wordFor(error)})`)
  }
}

/** A system error's code or a class name: messages may quote a kubeconfig, or what a credential plugin printed. */
function wordFor(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}

function refusal(statusCode: number, retryAfter: string | undefined): ApiError {
  const kind = statusCode === 401 || statusCode === 403 ? 'forbidden' : statusCode === 410 ? 'gone' : 'other'
  const seconds = Number(retryAfter)
  const waitMs = seconds > 0 ? Math.min(seconds * 1000, retryAfterMaxMs) : 0
  return new ApiError(kind, `the API server answered ${statusCode}`, waitMs)
}

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = ''
  const inTime = deadline(answer)
  try {
    for await (const chunk of answer.setEncoding('utf8')) text += chunk
  } finally {
    inTime()
  }
  return text
}

/** Breaks an exchange off that takes too long. Call what it returns once it did not. */
function deadline(exchange: { destroy(error: Error): void }): () => void {
  const late = new ApiError('unreachable', 'the API server took too long')
  const timer = setTimeout(() => exchange.destroy(late), requestTimeoutMs)
  return () => clearTimeout(timer)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw garbled()
  }
}

function garbled(): ApiError {
  return new ApiError('invalid', 'the API server sent something that is no JSON of its protocol')
}
