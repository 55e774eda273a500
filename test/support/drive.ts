import type { Failure, Memory, Message, WireAnswer, WireRequest } from '../../src/targets/contract.js'
import { judgeByStatus } from '../../src/targets/failures.js'
import { readTarget, type Target } from '../../src/targets/target.js'

/** What one attempt came to. */
export interface Driven {
  sent: WireRequest[]
  outcome: 'delivered' | Failure
  memory: Memory | undefined
}

/** Sends the requests of one message one after the other, as a delivery does, and answers each by `respond`. */
export async function drive(
  target: Target,
  message: Message,
  respond: (request: WireRequest) => WireAnswer | Promise<WireAnswer>
): Promise<Driven> {
  const sent: WireRequest[] = []
  let memory: Memory | undefined
  let left = target.wire.requests(message)
  while (left.length > 0) {
    const [request, ...rest] = left as [WireRequest, ...WireRequest[]]
    sent.push(request)
    const answer = await respond(request)
    const verdict =
      target.wire.answer?.(answer, message, request) ?? judgeByStatus(answer, target.kind.title, message.now)
    if (verdict.kind === 'failed') return { sent, outcome: verdict, memory }
    if (verdict.memory) memory = verdict.memory
    left = verdict.kind === 'instead' ? [...verdict.requests] : rest
  }
  return { sent, outcome: 'delivered', memory }
}

/** An answer with a JSON body, or with text as it is. */
export function answerOf(statusCode: number, body: unknown = '', headers: WireAnswer['headers'] = {}): WireAnswer {
  return { statusCode, headers, body: typeof body === 'string' ? body : JSON.stringify(body) }
}

/** A target of these settings, which must be valid. */
export function targetOf(settings: object): Target {
  const reading = readTarget({ name: 'target', ...settings })
  if (!reading.ok) throw new Error(JSON.stringify(reading.problems))
  return reading.value
}
