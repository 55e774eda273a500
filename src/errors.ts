import type { Problem } from './schema.js'

/** Every error that the API answers with: its status and what it says where nothing more exact is known. */
export const errorTable = {
  INVALID_INPUT: [400, 'the request is not valid'],
  UNAUTHORIZED: [401, 'a valid token is required: send Authorization: Bearer …'],
  FORBIDDEN: [403, 'the token’s role does not allow this'],
  NOT_FOUND: [404, 'there is nothing here'],
  TARGET_NOT_FOUND: [404, 'no target has this name'],
  CONFLICT: [409, 'it is under way already'],
  TOO_LARGE: [413, 'the body is larger than BODY_LIMIT'],
  NOT_JSON: [415, 'the body must be JSON: send Content-Type: application/json'],
  TOO_MANY_REQUESTS: [429, 'too soon: see Retry-After'],
  INTERNAL: [500, 'something went wrong here; the log says more'],
  ALL_TARGETS_FAILED: [502, 'every target refused the alert for good'],
  NO_HEALTHY_TARGETS: [503, 'no enabled target is healthy'],
  NO_ENABLED_TARGETS: [503, 'no target is enabled'],
  QUEUE_UNAVAILABLE: [503, 'some targets failed and the alert cannot be kept for them: try again'],
  OVERLOADED: [503, 'too much is under way: try again'],
  NOT_READY: [503, 'the targets are not known yet, or the queue is not open: try again'],
  DRAINING: [503, 'the service is shutting down: try again'],
  PUBLISH_TIMEOUT: [504, 'no target answered in time']
} as const satisfies Record<string, readonly [status: number, message: string]>

export type ErrorCode = keyof typeof errorTable

/** An error for the caller. Its message and details never carry input or secrets. */
export class ApiError extends Error {
  readonly statusCode: number
  readonly details: readonly Problem[] | undefined
  /** For `Retry-After`, in seconds. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    readonly code: ErrorCode,
    options: { message?: string; details?: readonly Problem[]; retryAfterSeconds?: number } = {}
  ) {
    super(options.message ?? errorTable[code][1])
    this.statusCode = errorTable[code][0]
    this.details = options.details
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

const statusTexts: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  413: 'Payload Too Large',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout'
}

/** An answer's size for a 4xx: it must stay below 1 KiB, however much is wrong. */
const mostDetailBytes = 700

/** The body of an error answer. */
export function errorBody(
  code: ErrorCode,
  message: string = errorTable[code][1],
  details?: readonly Problem[]
): Record<string, unknown> {
  const statusCode = errorTable[code][0]
  return {
    statusCode,
    code,
    error: statusTexts[statusCode],
    message,
    ...(details ? { details: fitting(details) } : {})
  }
}

/** As many problems as fit, the first ones, and how many there are besides; field names are cut, as they can come from the input. */
function fitting(details: readonly Problem[]): Problem[] {
  const fit: Problem[] = []
  let bytes = 0
  for (const detail of details) {
    const short = { ...detail, field: detail.field.length > 80 ? `${detail.field.slice(0, 79)}…` : detail.field }
    bytes += Buffer.byteLength(JSON.stringify(short)) + 1
    if (bytes > mostDetailBytes && fit.length > 0) break
    fit.push(short)
  }
  const left = details.length - fit.length
  if (left > 0)
    fit.push({ field: '…', message: `${left} more problems`, suggestion: 'mend these, and the next answer tells them' })
  return fit
}
