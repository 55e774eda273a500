import type { Failure, Memory, Message, Verdict, WireAnswer, WireRequest } from '../targets/contract.js'
import { failure, judgeByStatus } from '../targets/failures.js'
import type { ExchangeEnd, Sender } from '../targets/send.js'
import type { Target } from '../targets/target.js'
import { nameOf } from './outcome.js'

/** How an attempt ended. `memory` replaces what was remembered, even if the attempt failed later on. */
export interface Attempted {
  readonly outcome: { readonly kind: 'delivered' } | Failure
  readonly statusCode: number | undefined
  readonly memory: Memory | undefined
}

/** Whoever waits for the end of an attempt, and the bounds that it sets. */
export interface Attempting {
  /** When the attempt must have ended, in milliseconds since the epoch. */
  readonly until: number
  /** Longest single exchange, in milliseconds. */
  readonly exchangeMs: number
  readonly traceparent?: string | undefined
  attempted(attempted: Attempted): void
}

export interface AttemptDeps {
  readonly sender: Sender
  now(): number
}

/** Begins an attempt: `whom` is told its end once, later on. */
export type Attempt = (target: Target, message: Message, whom: Attempting) => void

/**
 * Attempts send the requests of one message, in order, until all are answered well or one is not. Most messages are one
 * request, and this is on every delivery's way.
 */
export function createAttempts(deps: AttemptDeps): Attempt {
  return (target, message, whom) => new Requests(target, message, whom, deps).begin()
}

class Requests implements ExchangeEnd {
  #requests: readonly WireRequest[] = noRequests
  #index = 0
  #sent = 0
  #memory: Memory | undefined
  #statusCode: number | undefined

  constructor(
    private readonly target: Target,
    private readonly message: Message,
    private readonly whom: Attempting,
    private readonly deps: AttemptDeps
  ) {}

  begin(): void {
    try {
      this.#requests = this.target.wire.requests(this.message)
      this.#next()
    } catch (error) {
      queueMicrotask(() => this.#end(broken(this.target, error)))
    }
  }

  exchanged(result: WireAnswer | Failure): void {
    if ('kind' in result) {
      this.#end(result)
      return
    }
    this.#statusCode = result.statusCode
    const verdict = this.#judge(result)
    if (verdict.kind === 'failed') {
      this.#end(verdict)
      return
    }
    if (verdict.memory) this.#memory = verdict.memory
    if (verdict.kind === 'instead') {
      this.#requests = verdict.requests
      this.#index = 0
    }
    this.#next()
  }

  #next(): void {
    const request = this.#requests[this.#index++]
    if (!request) {
      this.#end(deliveredWell)
      return
    }
    const { target, message, whom, deps } = this
    const exchange = {
      timeoutMs: Math.min(whom.exchangeMs, whom.until - (this.#sent === 0 ? message.now : deps.now())),
      // Each request of a message has a content of its own, and so a key of its own; retries come to the same ones.
      deliveryKey: this.#sent++ === 0 ? message.deliveryKey : `${message.deliveryKey}.${this.#sent}`,
      now: message.now,
      traceparent: whom.traceparent,
      statusTells: target.wire.answer === undefined || target.wire.statusTells === true
    }
    deps.sender.send(target, request, exchange, this)
  }

  #judge(answer: WireAnswer): Verdict {
    const { target, message } = this
    try {
      const told = target.wire.answer?.(answer, message, this.#requests[this.#index - 1]!)
      return told ?? judgeByStatus(answer, target.kind.title, message.now)
    } catch (error) {
      return broken(target, error)
    }
  }

  #end(outcome: Attempted['outcome']): void {
    this.whom.attempted({ outcome, statusCode: this.#statusCode, memory: this.#memory })
  }
}

/** What a kind throws is a bug in that kind: it costs its own part and no other. */
function broken(target: Target, error: unknown): Failure {
  return failure('internal', `${target.kind.title} could not be sent to: ${nameOf(error)}`)
}

const noRequests: readonly WireRequest[] = []
const deliveredWell = { kind: 'delivered' } as const
