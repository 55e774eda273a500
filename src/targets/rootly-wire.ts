import type { Failure, Message, Verdict, WireAnswer } from './contract.js'
import { judgeByStatus } from './failures.js'
import { json } from './text.js'

/** Rootly speaks JSON:API (docs.rootly.com/api-reference/overview). */
export const rootlyHeaders = { 'content-type': 'application/vnd.api+json', accept: 'application/vnd.api+json' }

export function document(type: 'incidents' | 'alerts', attributes: object): string {
  return json({ data: { type, attributes } })
}

/** By the status; a 429 carries the end of its window in `X-RateLimit-Reset`, epoch seconds, where it has no `Retry-After`. */
export function judge(answer: WireAnswer, { now }: Message): Verdict {
  const verdict = judgeByStatus(answer, 'Rootly', now)
  if (verdict.kind !== 'failed' || verdict.type !== 'rate_limited' || verdict.retryAfterMs !== undefined) return verdict
  const reset = Number(answer.headers['x-ratelimit-reset'])
  if (!(reset > 0)) return verdict
  return { ...verdict, retryAfterMs: Math.min(Math.max(reset * 1000 - now, 0), 3_600_000) } satisfies Failure
}

/** An incident or alert as an answer shows it. */
export interface Seen {
  readonly id: string
  readonly status: string | undefined
  /** What of it came back, as text. */
  readonly text: string
}

/**
 * The resources in an answer. Rootly's are longer than what is kept of an answer; of one that was cut the first is read,
 * whose id, title, summary and status stand at its head.
 */
export function seenIn({ body }: WireAnswer): Seen[] {
  try {
    const { data } = JSON.parse(body) as { data: Resource | Resource[] }
    return [data].flat().flatMap(one => {
      const id = String(one.id ?? '')
      if (!idForm.test(id)) return []
      const status = one.attributes?.status
      return { id, status: typeof status === 'string' ? status : undefined, text: JSON.stringify(one) }
    })
  } catch {
    const id = /^\s*\{\s*"data"\s*:\s*\[?\s*\{\s*(?:"type"\s*:\s*"\w+"\s*,\s*)?"id"\s*:\s*"([\w-]{1,100})"/.exec(
      body
    )?.[1]
    return id === undefined ? [] : [{ id, status: /"status"\s*:\s*"(\w+)"/.exec(body)?.[1], text: body }]
  }
}

/** Whether the answer lists resources at all, none perhaps: one that broke off tells nothing of what is there. */
export function isList(answer: WireAnswer): boolean {
  try {
    return Array.isArray((JSON.parse(answer.body) as { data?: unknown } | null)?.data)
  } catch {
    return seenIn(answer).length > 0
  }
}

/** Rootly's ids are UUIDs; anything of that sort goes into a path and a record. */
const idForm = /^[\w-]{1,100}$/

interface Resource {
  id?: unknown
  attributes?: { status?: unknown }
}
