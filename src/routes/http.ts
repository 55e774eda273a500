import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyRequest,
  FastifySchemaCompiler,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault
} from 'fastify'
import Type, { type TSchema } from 'typebox'
import { ApiError } from '../errors.js'
import { parseInTurns, TooManyValues } from '../pipeline/pieces.js'
import { reader } from '../schema.js'

/** Who may call a route. `open` needs no token even where there are some. */
export type Role = 'open' | 'publish' | 'read' | 'admin'

declare module 'fastify' {
  interface FastifyContextConfig {
    role?: Role
    /** Counted against MAX_IN_FLIGHT, refused while draining and before the targets are known. */
    publishes?: boolean
  }
}

/** What routes are added to: a handler's input and answer have the types of the route's schema. */
export type Routes = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

/** Reads path, query and body by the route's schema before its handler runs; INVALID_INPUT lists every problem. */
export const readInput: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const read = reader(schema)
  return data => {
    try {
      const input = httpPart === 'body' ? bodyObject(data) : httpPart === 'querystring' ? untexted(schema, data) : data
      const reading = read(input)
      if (reading.ok) return { value: reading.value }
      return { error: new ApiError('INVALID_INPUT', { details: reading.problems }) }
    } catch (error) {
      // Fastify would make a 500 of whatever is thrown here.
      return { error: error as Error }
    }
  }
}

/** A connection on which nothing moves for so long is closed, in milliseconds. */
export const quietMs = 120_000
/** For the answer, once it is known. */
const marginMs = 10_000

/** Keeps a request's connection open for as long as its answer may take, in milliseconds; for that request alone. */
export function waitForAnswer({ raw }: FastifyRequest, ms: number): void {
  if (ms + marginMs > quietMs) raw.socket.setTimeout(ms + marginMs)
}

/** For routes that read what they get themselves: their schema only describes it. */
export const readNothing: FastifySchemaCompiler<TSchema> = () => () => true

export const Problem = Type.Object({ field: Type.String(), message: Type.String(), suggestion: Type.String() })

/** The body of every error answer. */
export const ErrorBody = Type.Object({
  statusCode: Type.Integer(),
  code: Type.String(),
  error: Type.String(),
  message: Type.String(),
  details: Type.Optional(Type.Array(Problem))
})

/** The bytes of a body that has to be JSON; throws the right error if it is not said to be. */
export function jsonBytes(request: FastifyRequest): Buffer {
  const bytes = request.body as Buffer | undefined
  if (!bytes || bytes.length === 0) throw new ApiError('INVALID_INPUT', { message: 'the body is empty' })
  if (!/^application\/([\w.+-]+\+)?json\b/i.test(request.headers['content-type'] ?? '')) throw new ApiError('NOT_JSON')
  return bytes
}

/** The body of a route that needs none: absent, empty or a JSON object, with whatever content type. */
export function bodyObject(bytes: unknown): Record<string, unknown> {
  if (!Buffer.isBuffer(bytes) || bytes.length === 0) return {}
  const body = parsed(bytes)
  if (body === null || typeof body !== 'object' || Array.isArray(body))
    throw new ApiError('INVALID_INPUT', { message: 'the body is not a JSON object' })
  return body as Record<string, unknown>
}

/** A body as JSON; throws INVALID_INPUT. */
export function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(unmarked(bytes).toString())
  } catch {
    throw notJson(bytes)
  }
}

/** The same for a body that may be large: others get the event loop in between. */
export async function parsedInTurns(bytes: Buffer): Promise<unknown> {
  try {
    return await parseInTurns(unmarked(bytes))
  } catch (error) {
    throw error instanceof TooManyValues ? new ApiError('INVALID_INPUT', { details: [error.problem] }) : notJson(bytes)
  }
}

/** Windows begins its UTF-8 files with a mark that is no JSON. */
const unmarked = (bytes: Buffer): Buffer =>
  bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes

function notJson(bytes: Buffer): ApiError {
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b
  const message = isGzip ? 'the body is compressed: send it as it is' : 'the body is not valid JSON'
  return new ApiError('INVALID_INPUT', { message })
}

/** A query string, where everything is text, with the numbers and booleans that its schema wants. */
function untexted(schema: TSchema, query: Record<string, unknown>): Record<string, unknown> {
  const { properties } = schema as unknown as { properties: Record<string, { type?: string }> }
  const input = { ...query }
  for (const [name, { type }] of Object.entries(properties)) {
    const text = input[name]
    if (typeof text !== 'string') continue
    if ((type === 'integer' || type === 'number') && /^-?\d+(\.\d+)?$/.test(text)) input[name] = Number(text)
    if (type === 'boolean' && (text === 'true' || text === 'false')) input[name] = text === 'true'
  }
  return input
}

/** What a list gives at once where no `limit` is asked for. */
export const pageSize = 100

/** Query parameters of every list. */
export const paging = {
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 1000, default: pageSize, description: 'a whole number from 1 to 1000' })
  ),
  cursor: Type.Optional(Type.String({ maxLength: 400, description: 'next_cursor of the page before' }))
}

/** A page of a list. */
export const pageOf = <S extends TSchema>(item: S) =>
  Type.Object({ items: Type.Array(item), next_cursor: Type.Union([Type.String(), Type.Null()]) })

/** One page out of a sorted list that is in memory; the cursor is the last item's key. */
export function pageFrom<T>(
  items: readonly T[],
  key: (item: T) => string,
  { limit = pageSize, cursor }: { limit?: number | undefined; cursor?: string | undefined }
): { items: T[]; next_cursor: string | null } {
  const last = cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString()
  const from = last === undefined ? 0 : items.findIndex(item => key(item) > last)
  const page = from < 0 ? [] : items.slice(from, from + limit)
  const more = from >= 0 && from + limit < items.length
  return { items: page, next_cursor: more ? Buffer.from(key(page.at(-1)!)).toString('base64url') : null }
}
