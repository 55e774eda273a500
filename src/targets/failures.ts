import type { ErrorReason, ErrorType, Failure, Verdict, WireAnswer } from './contract.js'

const oneHourMs = 3_600_000

/** What each reason means for a retry, where the status does not say more. */
const typeOfReason: Record<ErrorReason, ErrorType> = {
  timeout: 'transient',
  dns: 'transient',
  connection: 'transient',
  tls: 'transient',
  server_error: 'transient',
  cancelled: 'transient',
  rate_limited: 'rate_limited',
  auth: 'configuration',
  not_found: 'configuration',
  client_error: 'permanent',
  rejected: 'permanent',
  blocked_address: 'permanent',
  payload_too_large: 'permanent',
  target_not_found: 'permanent',
  queue_full: 'permanent',
  internal: 'unknown'
}

/** A failure for a reason of the closed set. */
export function failure(
  reason: ErrorReason,
  message: string,
  more: Partial<Pick<Failure, 'type' | 'statusCode' | 'retryAfterMs' | 'mayHave'>> = {}
): Failure {
  return { kind: 'failed', type: typeOfReason[reason], reason, message, mayHave: false, ...more }
}

/** Reads an answer by its status alone: 2xx is delivered, everything else is a failure with its type and reason. */
export function judgeByStatus(answer: WireAnswer, title: string, now: number): Verdict {
  const { statusCode } = answer
  if (statusCode >= 200 && statusCode < 300) return { kind: 'delivered' }
  const message = `${title} answered ${statusCode}`
  if (statusCode === 429)
    return failure('rate_limited', message, { statusCode, retryAfterMs: retryAfterMs(answer, now) })
  if (statusCode === 408) return failure('timeout', message, { statusCode })
  if (statusCode === 425) return failure('server_error', message, { statusCode })
  if (statusCode >= 500)
    return failure('server_error', message, { statusCode, retryAfterMs: retryAfterMs(answer, now) })
  if (statusCode === 401 || statusCode === 403) return failure('auth', message, { statusCode })
  if (statusCode === 404 || statusCode === 410) return failure('not_found', message, { statusCode })
  if (statusCode === 413) return failure('payload_too_large', message, { statusCode })
  if (statusCode >= 300) return failure('client_error', message, { statusCode })
  return failure('internal', message, { statusCode })
}

/** `Retry-After` in milliseconds from now, from seconds or an HTTP date, clamped to [0, 1 h]; undefined if absent or unreadable. */
export function retryAfterMs(answer: WireAnswer, now: number): number | undefined {
  const header = answer.headers['retry-after']
  const text = (Array.isArray(header) ? header[0] : header)?.trim()
  if (!text) return undefined
  const ms = /^[+-]?\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), oneHourMs)
}
