import { createHmac } from 'node:crypto'
import { isIP } from 'node:net'
import { StringDecoder } from 'node:string_decoder'
import { buildConnector, type Dispatcher, errors, util } from 'undici'
import { Batch } from '../batch.js'
import { Connections } from './connections.js'
import type { ErrorReason, Failure, WireAnswer, WireRequest } from './contract.js'
import { BlockedAddress, type Egress } from './egress.js'
import { failure } from './failures.js'
import { keyOf } from './hmac.js'
import type { Auth, TargetSettings } from './settings.js'
import type { Target } from './target.js'

/** Bytes of an answer that are read for its meaning; what follows is thrown away. Slack and Rootly answer a few KiB. */
const keptBytes = 64 * 1024
/** Bytes of an answer after which the connection is given up rather than drained. */
const drainedBytes = 512 * 1024

export interface SendOptions {
  /** Longest wait for the whole answer, in milliseconds. */
  readonly timeoutMs: number
  readonly deliveryKey: string
  /** Milliseconds since the epoch, for signatures. */
  readonly now: number
  readonly traceparent?: string | undefined
  /** Nobody will look into a 2xx: neither its headers nor its body are read. */
  readonly statusTells?: boolean
}

/** Whoever waits for the end of an exchange. */
export interface ExchangeEnd {
  exchanged(result: WireAnswer | Failure): void
}

/** The only code that sends anything to targets; health checks connect as it does. */
export interface Sender {
  /**
   * One HTTP exchange. Its end is told once, later on: what goes wrong on the way is a failure with its reason. It is no
   * promise since several would be made and thrown away for each delivery.
   */
  send(target: Target, request: WireRequest, options: SendOptions, whom: ExchangeEnd): void
  /** Closes the target's connections once what runs on them has ended. */
  retire(target: Target): Promise<void>
  /** Closes everything; `now` aborts what runs. */
  close(now: boolean): Promise<void>
}

/** What the requests to one target have in common. */
export interface Line {
  readonly pools: Map<string, Connections>
  /** Header names and values that every request to the target carries. */
  readonly headers: readonly string[]
  /** Names, in lower case, of the headers that the target's settings give: they win over what would be sent besides. */
  readonly own: ReadonlySet<string>
  readonly sign?: Sign
}

/** Writes the signature headers of one request. */
type Sign = (request: Pick<WireRequest, 'body'>, options: Pick<SendOptions, 'deliveryKey' | 'now'>) => string[]

/** A sender with connections per target and origin. Redirects are never followed. */
export function createSender(rules: Egress, userAgent: string): Sender {
  const lines = new Map<Target, Line>()
  const retired = new WeakSet<Target>()
  // Targets with no TLS settings of their own connect alike.
  const plain = connectorOf({}, rules)
  const connectorFor = ({ settings }: Target) => (settings.tls ? connectorOf(settings, rules) : plain)
  let closed = false

  const lineOf = (target: Target): Line => {
    let line = lines.get(target)
    if (!line) lines.set(target, (line = openLine(target, userAgent)))
    return line
  }
  const poolOf = (target: Target, line: Line, origin: string): Connections => {
    let pool = line.pools.get(origin)
    if (!pool) line.pools.set(origin, (pool = openPool(target, origin, connectorFor(target))))
    return pool
  }

  const beginning = new Batch<Exchange>(
    exchange => {
      const { target } = exchange
      const outbound = exchange.outbound()
      try {
        if (closed) throw new errors.ClientClosedError()
        poolOf(target, lineOf(target), outbound.origin).dispatch(outbound, exchange)
      } catch (error) {
        exchange.onError(error as Error)
      }
    },
    undefined,
    queueMicrotask
  )

  const retire = async (target: Target): Promise<void> => {
    const line = lines.get(target)
    lines.delete(target)
    await Promise.all([...(line?.pools.values() ?? [])].map(pool => pool.close()))
  }

  /** A delivery that was under way when its target went may have more to send; its connections go after it. */
  const ended = (target: Target): void => {
    if (retired.has(target)) void retire(target)
  }

  return {
    send(target, request, options, whom) {
      const { title } = target.kind
      const refused = closed
        ? failure('cancelled', `${title} ${wordings.cancelled}`)
        : options.timeoutMs <= 0 && failure('timeout', `${title} was not reached: no time was left`)
      if (refused) {
        queueMicrotask(() => whom.exchanged(refused))
        return
      }
      const { origin, path, method, body } = request
      const headers = headersOf(lineOf(target), request, options)
      beginning.add(new Exchange(target, { origin, path, method, headers, body: body ?? null }, options, ended, whom))
    },
    retire(target) {
      retired.add(target)
      return retire(target)
    },
    async close(now) {
      closed = true
      const pools = [...lines.values()].flatMap(line => [...line.pools.values()])
      lines.clear()
      await Promise.all(pools.map(pool => (now ? pool.destroy() : pool.close())))
    }
  }
}

function headersOf(line: Line, request: WireRequest, options: SendOptions): string[] {
  const headers = line.headers.slice()
  const { own } = line
  if (!own.has('idempotency-key')) headers.push('idempotency-key', options.deliveryKey)
  for (const name in request.headers) if (!own.has(name)) headers.push(name, request.headers[name]!)
  if (options.traceparent && !own.has('traceparent')) headers.push('traceparent', options.traceparent)
  if (line.sign) headers.push(...line.sign(request, options))
  return headers
}

type Outbound = Dispatcher.DispatchOptions & Pick<WireRequest, 'origin'>

/**
 * One exchange under way: collects the answer, keeps the time, and settles exactly once. It speaks undici's own handler
 * protocol, with headers as they came: the newer one parses them all for an answer whose status says everything.
 */
class Exchange implements Dispatcher.DispatchHandler {
  #abort: ((error?: Error) => void) | undefined
  #statusCode = 0
  #rawHeaders: Buffer[] = noHeaders
  #body = ''
  #bytes = 0
  #decoder: StringDecoder | undefined
  #outbound: Outbound | undefined
  #settled = false
  #result: WireAnswer | Failure | undefined
  #whom: ExchangeEnd | undefined
  readonly #timer: NodeJS.Timeout

  constructor(
    readonly target: Target,
    outbound: Outbound,
    private readonly options: SendOptions,
    private readonly ended: (target: Target) => void,
    whom: ExchangeEnd
  ) {
    this.#outbound = outbound
    this.#whom = whom
    this.#timer = setTimeout(timedOut, options.timeoutMs, this)
  }

  /** What goes out, once: whoever takes it sends it. */
  outbound(): Outbound {
    const outbound = this.#outbound!
    this.#outbound = undefined
    return outbound
  }

  onConnect(abort: (error?: Error) => void): void {
    if (this.#settled) abort(new Error('timed out before it was sent'))
    else this.#abort = abort
  }

  onHeaders(statusCode: number, rawHeaders: Buffer[]): boolean {
    if (statusCode >= 200) {
      this.#statusCode = statusCode
      this.#rawHeaders = rawHeaders
    }
    return true
  }

  onData(chunk: Buffer): boolean {
    if (this.#bytes < keptBytes && !(this.options.statusTells && this.#statusCode < 300)) {
      this.#decoder ??= new StringDecoder('utf8')
      this.#body += this.#decoder.write(chunk.subarray(0, keptBytes - this.#bytes))
    }
    this.#bytes += chunk.length
    if (this.#bytes > drainedBytes) {
      this.#answered()
      this.#abort?.(new Error('the answer is too long'))
    }
    return true
  }

  onComplete(): void {
    this.#answered()
  }

  onError(error: Error): void {
    if (this.#settled) return
    if (this.#statusCode > 0) this.#answered()
    else this.#settle(failureOf(error, this.target.kind.title, this.#abort !== undefined))
  }

  timedOut(): void {
    if (this.#settled) return
    const mayHave = this.#abort !== undefined
    if (this.#statusCode > 0) this.#answered()
    else this.#settle(failure('timeout', `${this.target.kind.title} did not answer in time`, { mayHave }))
    this.#abort?.(new Error('timed out'))
  }

  /** A status that arrived counts, even if its body never ends or breaks off. */
  #answered(): void {
    if (this.#settled) return
    const statusCode = this.#statusCode
    const plain = this.options.statusTells && statusCode < 300
    this.#settle({ statusCode, headers: plain ? noneRead : util.parseHeaders(this.#rawHeaders), body: this.#body })
  }

  #settle(result: WireAnswer | Failure): void {
    this.#settled = true
    this.#result = result
    clearTimeout(this.#timer)
    this.ended(this.target)
    settled.add(this)
  }

  tell(): void {
    const whom = this.#whom
    const result = this.#result!
    // A connection remembers its last exchange for as long as it is idle; all that led to it must not stay with it.
    this.#whom = undefined
    this.#rawHeaders = noHeaders
    this.#result = undefined
    whom?.exchanged(result)
  }
}

const settled = new Batch<Exchange>(exchange => exchange.tell())

const noHeaders: Buffer[] = []
const noneRead: WireAnswer['headers'] = {}

const timedOut = (exchange: Exchange): void => exchange.timedOut()

/**
 * Opens connections as the target's TLS settings and the egress rules say; `signal` breaks off what is under way, instead
 * of undici's own limit of 10 s.
 */
export function connectorOf(
  { tls }: Pick<TargetSettings, 'tls'>,
  rules: Egress,
  signal?: AbortSignal
): buildConnector.connector {
  const connect = buildConnector({
    lookup: rules.lookup,
    ...(signal ? { signal, timeout: 0 } : {}),
    ...(tls?.ca ? { ca: tls.ca } : {}),
    ...(tls?.cert ? { cert: tls.cert } : {}),
    ...(tls?.key ? { key: tls.key.reveal() } : {}),
    ...(tls?.server_name ? { servername: tls.server_name } : {}),
    ...(tls?.insecure_skip_verify ? { rejectUnauthorized: false } : {})
  } as buildConnector.BuildOptions)
  return (options, callback) => {
    // A literal address is never looked up, so it is checked here.
    const host = options.hostname.replace(/^\[|\]$/g, '')
    if (isIP(host) && !rules.allows(host)) return callback(new BlockedAddress(), null)
    try {
      connect(options, callback)
    } catch (error) {
      // TLS settings that cannot be used throw at once, where nobody who connects would look for an error.
      callback(error as Error, null)
    }
  }
}

function openPool(target: Target, origin: string, connect: buildConnector.connector): Connections {
  return new Connections(origin, target.settings.max_concurrent ?? target.kind.defaults.maxConcurrent, {
    pipelining: 1,
    // The exchange keeps the time itself, to the millisecond.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect
  })
}

/** What a line needs before its first connection. */
export function openLine(target: Target, userAgent: string): Line {
  const { auth, headers: settings = {} } = target.settings
  const own = new Set(Object.keys(settings).map(name => name.toLowerCase()))
  const headers = Object.entries(settings).flatMap(([name, value]) => [name, value.reveal()])
  const [name, value] = auth ? credentials(auth) : []
  if (name !== undefined && value !== undefined && !own.has(name.toLowerCase())) {
    headers.push(name, value)
    own.add(name.toLowerCase())
  }
  if (!own.has('user-agent')) headers.push('user-agent', userAgent)
  return { pools: new Map(), headers, own, ...(auth?.type === 'hmac' ? { sign: signer(auth, own) } : {}) }
}

function credentials(auth: Auth): string[] {
  switch (auth.type) {
    case 'bearer':
      return ['authorization', `Bearer ${auth.token.reveal()}`]
    case 'basic':
      return ['authorization', `Basic ${Buffer.from(`${auth.username}:${auth.password.reveal()}`).toString('base64')}`]
    case 'api_key':
      return [auth.header, auth.value.reveal()]
    case 'hmac':
      return []
  }
}

/**
 * Standard Webhooks signature headers; two secrets while rotating give two signatures.
 * Source: the Standard Webhooks specification, "Signature scheme" (symmetric, `v1`; `whsec_` secrets are base64).
 */
function signer(auth: Extract<Auth, { type: 'hmac' }>, own: ReadonlySet<string>): Sign {
  const keys = [auth.secret, auth.previous_secret].flatMap(secret => (secret && keyOf(secret.reveal())) ?? [])
  return (request, { deliveryKey, now }) => {
    const timestamp = String(Math.floor(now / 1000))
    const signatures = keys.map(key => {
      const hmac = createHmac('sha256', key)
        .update(`${deliveryKey}.${timestamp}.`)
        .update(request.body ?? '')
      return `v1,${hmac.digest('base64')}`
    })
    const signed = [
      ['webhook-id', deliveryKey],
      ['webhook-timestamp', timestamp],
      ['webhook-signature', signatures.join(' ')]
    ]
    return signed.flatMap(header => (own.has(header[0]!) ? [] : header))
  }
}

const reasonOfCode: Record<string, ErrorReason> = {
  ERR_BLOCKED_ADDRESS: 'blocked_address',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  ETIMEDOUT: 'timeout',
  ENOTFOUND: 'dns',
  ENODATA: 'dns',
  ECONNREFUSED: 'connection',
  ECONNRESET: 'connection',
  EHOSTUNREACH: 'connection',
  ENETUNREACH: 'connection',
  EADDRNOTAVAIL: 'connection',
  EPIPE: 'connection',
  UND_ERR_SOCKET: 'connection',
  UND_ERR_HEADERS_OVERFLOW: 'connection',
  UND_ERR_RESPONSE: 'connection',
  UND_ERR_DESTROYED: 'cancelled',
  UND_ERR_CLOSED: 'cancelled',
  EPROTO: 'tls',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'tls',
  SELF_SIGNED_CERT_IN_CHAIN: 'tls'
}

const wordings: Partial<Record<ErrorReason, string>> = {
  timeout: 'could not be reached in time',
  dns: 'has a host name that could not be resolved',
  connection: 'refused or broke the connection',
  tls: 'failed the TLS handshake',
  blocked_address: 'has an address that EGRESS_DENY forbids',
  cancelled: 'was not reached: the attempt was cancelled'
}

/** What a connection error means, by its code; error texts can carry addresses and are not passed on. */
export function failureOf(error: unknown, title: string, sent: boolean): Failure {
  const code = codeOf(error)
  const reason = reasonOfCode[code] ?? byPrefix(code)
  const beforeSending = reason === 'dns' || reason === 'tls' || reason === 'blocked_address' || code === 'ECONNREFUSED'
  return failure(reason, `${title} ${wordings[reason] ?? `failed with ${code || 'an unknown error'}`}`, {
    mayHave: sent && !beforeSending
  })
}

/** The code of an error, or of the first of several connection attempts. */
function codeOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0])
  // What is no HTTP has a code only where the parser knows one.
  if (error instanceof errors.HTTPParserError) return error.code ?? 'HPE_INVALID'
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown }
  if (typeof code === 'string') return code
  return cause === undefined ? '' : codeOf(cause)
}

function byPrefix(code: string): ErrorReason {
  if (code.startsWith('EAI_')) return 'dns'
  if (code.startsWith('HPE_')) return 'connection'
  if (/^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|UNABLE_TO_|HOSTNAME_)/.test(code)) return 'tls'
  return 'internal'
}
