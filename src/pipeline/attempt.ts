import type { Failure, Memory, Message, Verdict, WireAnswer } from '../targets/contract.js'
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

/** Sends the requests of one message, in order, until all are answered well or one is not. Never rejects. */
export async function attempt(
  target: Target,
  message: Message,
  sender: Sender,
  options: AttemptOptions
): Promise<Attempted> {
  let memory: Memory | undefined
  let statusCode: number | undefined
  try {
    let requests = target.wire.requests(message)
    let sent = 0
    for (let index = 0; index < requests.length; index++) {
      const request = requests[index]!
      const now = options.now()
      const result = await sender.send(target, request, {
        timeoutMs: Math.min(options.exchangeMs, options.until - now),
        // Each request of a message has a content of its own, and so a key of its own; retries come to the same ones.
        deliveryKey: sent++ === 0 ? message.deliveryKey : `${message.deliveryKey}.${sent}`,
        now: message.now,
        traceparent: options.traceparent,
        statusTells: target.wire.answer === undefined
      })
      if ('kind' in result) return { outcome: result, statusCode, memory }
      statusCode = result.statusCode
      const verdict = judge(target, result, message, request, options.now())
      if (verdict.kind === 'failed') return { outcome: verdict, statusCode, memory }
      if (verdict.memory) memory = verdict.memory
      if (verdict.kind === 'instead') {
        requests = [...verdict.requests]
        index = -1
      }
    }
    return { outcome: deliveredWell, statusCode, memory }
  } catch (error) {
    // What a kind throws is a bug in that kind: it costs its own part and no other.
    const outcome = failure('internal', `${target.kind.title} could not be sent to: ${nameOf(error)}`)
    return { outcome, statusCode, memory }
  }
}

const deliveredWell = { kind: 'delivered' } as const

function judge(
  target: Target,
  answer: WireAnswer,
  message: Message,
  request: Parameters<Sender['send']>[1],
  now: number
): Verdict {
  return target.wire.answer?.(answer, message, request) ?? judgeByStatus(answer, target.kind.title, now)
}

/** The kind of an error without its text, which could carry anything. */
function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : 'unknown error'
}
