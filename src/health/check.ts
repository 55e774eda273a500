import { Client } from 'undici'
import type { Failure } from '../targets/contract.js'
import type { Egress } from '../targets/egress.js'
import { failure, judgeByStatus } from '../targets/failures.js'
import { connectorOf, failureOf, openLine } from '../targets/send.js'
import type { Target } from '../targets/target.js'

export interface CheckOptions {
  /** Longest check, in milliseconds. */
  readonly timeoutMs: number
  /** Milliseconds since the epoch, for signatures. */
  readonly now: number
  /** Breaks the check off. */
  readonly signal: AbortSignal
}

/** Finds out whether a target can be reached: undefined if so, else why not. Never rejects. */
export type Check = (target: Target, options: CheckOptions) => Promise<Failure | undefined>

/**
 * A check that connects, by TLS for https, over connections of its own: what is slow about deliveries is none of its
 * business. Where the target's `health` says so it also asks by HTTP. Of several origins, one that answers is enough.
 */
export function createCheck(rules: Egress, userAgent: string): Check {
  return async (target, { timeoutMs, now, signal }) => {
    const over = new AbortController()
    const stop = () => over.abort()
    const timer = setTimeout(stop, timeoutMs)
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
    const one: OneCheck = { target, rules, userAgent, now, signal: over.signal }
    const failed = await anyOf(
      target.wire.origins.map(origin =>
        // A rejection that nobody waits for would end the process.
        (target.settings.health ? ask : connect)(one, origin).catch(error => failureOf(error, target.kind.title, false))
      )
    )
    const inTime = !over.signal.aborted
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
    stop()
    return failed && !inTime && !signal.aborted
      ? failure('timeout', `${target.kind.title} could not be reached in time`)
      : failed
  }
}

interface OneCheck {
  readonly target: Target
  readonly rules: Egress
  readonly userAgent: string
  readonly now: number
  readonly signal: AbortSignal
}

/** Undefined as soon as one succeeded; once none did, why the first of them failed. */
function anyOf(checks: readonly Promise<Failure | undefined>[]): Promise<Failure | undefined> {
  return new Promise(resolve => {
    for (const check of checks) check.then(failed => failed ?? resolve(undefined))
    Promise.all(checks).then(([first]) => resolve(first))
  })
}

async function connect({ target, rules, signal }: OneCheck, origin: string): Promise<Failure | undefined> {
  const { protocol, host, hostname, port } = new URL(origin)
  return new Promise(resolve => {
    const connector = connectorOf(target.settings, rules, signal)
    connector({ protocol, host, hostname: hostname.replace(/^\[|\]$/g, ''), port }, (error, socket) => {
      socket?.destroy()
      resolve(error ? failureOf(error, target.kind.title, false) : undefined)
    })
  })
}

async function ask(one: OneCheck, origin: string): Promise<Failure | undefined> {
  const { target, rules, userAgent, now, signal } = one
  const { method, path, expect } = target.settings.health!
  const { title } = target.kind
  const { pathname, search } = new URL(origin + path)
  const { headers, sign } = openLine(target, userAgent)
  const signature = sign?.({}, { deliveryKey: `health-${now}`, now }) ?? []
  const client = new Client(origin, {
    connect: connectorOf(target.settings, rules, signal),
    headersTimeout: 0,
    bodyTimeout: 0
  })
  try {
    const { statusCode, body } = await client.request({
      method,
      path: pathname + search,
      headers: [...headers, ...signature],
      signal
    })
    body.on('error', () => {}).destroy()
    if (expect ? expect.includes(statusCode) : statusCode < 500) return undefined
    const verdict = judgeByStatus({ statusCode, headers: {}, body: '' }, title, now)
    return verdict.kind === 'failed' ? verdict : failure('rejected', `${title} answered ${statusCode}`, { statusCode })
  } finally {
    client.destroy().catch(() => {})
  }
}
