import type { Failure, Memory, Message, Verdict, WireAnswer, WireRequest } from '../targets/contract.js'
import { failure, judgeByStatus } from '../targets/failures.js'
import type { Sender } from '../targets/send.js'
import type { Target } from '../targets/target.js'

/** How an attempt ended. `memory` replaces what was remembered, even if the attempt failed later on. */
export interface Attempted {
  readonly outcome: { readonly kind: 'delivered' } | Failure
  readonly statusCode: number | undefined
  readonly memory: Memory | undefined
}

export interface AttemptOptions {
  /** When the attempt must have ended, in milliseconds since the epoch. */
  readonly until: number
  /** Longest single exchange, in milliseconds. */
  readonly exchangeMs: number
  readonly traceparent?: string | undefined
  now(): number
}

/**
 * Sends the requests of one message, in order, until all are answered well or one is not. `done` is called once, later on:
 * most messages are one request, and this is on every delivery's way.
 */
export function attempt(
  target: Target,
  message: Message,
  sender: Sender,
  options: AttemptOptions,
  done: (attempted: Attempted) => void
): void {
  let requests: readonly WireRequest[] = []
  let index = 0
  let sent = 0
  let memory: Memory | undefined
  let statusCode: number | undefined

  const end = (outcome: Attempted['outcome']): void => done({ outcome, statusCode, memory })

  const next = (): void => {
    const request = requests[index++]
    if (!request) {
      end(deliveredWell)
      return
    }
    const exchange = {
      timeoutMs: Math.min(options.exchangeMs, options.until - options.now()),
      // Each request of a message has a content of its own, and so a key of its own; retries come to the same ones.
      deliveryKey: sent++ === 0 ? message.deliveryKey : `${message.deliveryKey}.${sent}`,
      now: message.now,
      traceparent: options.traceparent,
      statusTells: target.wire.answer === undefined
    }
    sender.send(target, request, exchange, result => {
      if ('kind' in result) end(result)
      else answered(result, request)
    })
  }

  const answered = (answer: WireAnswer, request: WireRequest): void => {
    statusCode = answer.statusCode
    let verdict: Verdict
    try {
      verdict = judge(target, answer, message, request, options.now())
    } catch (error) {
      verdict = broken(target, error)
    }
    if (verdict.kind === 'failed') {
      end(verdict)
      return
    }
    if (verdict.memory) memory = verdict.memory
    if (verdict.kind === 'instead') {
      requests = verdict.requests
      index = 0
    }
    next()
  }

  try {
    requests = target.wire.requests(message)
    next()
  } catch (error) {
    queueMicrotask(() => end(broken(target, error)))
  }
}

/** What a kind throws is a bug in that kind: it costs its own part and no other. */
function broken(target: Target, error: unknown): Failure {
  return failure('internal', `${target.kind.title} could not be sent to: ${nameOf(error)}`)
}

const deliveredWell = { kind: 'delivered' } as const

function judge(target: Target, answer: WireAnswer, message: Message, request: WireRequest, now: number): Verdict {
  return target.wire.answer?.(answer, message, request) ?? judgeByStatus(answer, target.kind.title, now)
}

/** The kind of an error without its text, which could carry anything. */
function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : 'unknown error'
}
