import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { Batch } from '../batch.js'
import { ApiError, errorBody } from '../errors.js'
import { type Accepted, AlertInput, accept, acceptInTurns, Envelope } from '../pipeline/accept.js'
import { type ExplainRequest, Explanation, textOf } from '../pipeline/explain.js'
import { type EffectiveOptions, effectiveOptions, optionsFromQuery, PublishOptions } from '../pipeline/options.js'
import { parsedAtOnce } from '../pipeline/pieces.js'
import type { Published, PublishRequest } from '../pipeline/publish.js'
import { PublishResult } from '../pipeline/result.js'
import { type Scope, scopes } from '../pipeline/select.js'
import type { Problem, Reading } from '../schema.js'
import { ErrorBody, jsonBytes, parsed, parsedInTurns, readNothing, waitForAnswer } from './http.js'

export interface PublishRoutes {
  publish(request: PublishRequest): Promise<Published>
  explain(request: ExplainRequest): Promise<Explanation>
  readonly defaults: EffectiveOptions
  /** The body of a publish was understood, or was not. */
  received(accepted: PublishRequest['accepted'] | undefined): void
  now(): number
}

const AlertmanagerWebhook = Type.Object(
  {
    version: Type.Literal('4'),
    receiver: Type.Optional(Type.String()),
    groupKey: Type.Optional(Type.String()),
    alerts: Type.Array(Type.Object({ status: Type.Enum(['firing', 'resolved']) }))
  },
  {
    description:
      'Alertmanager webhook, version 4, as Alertmanager posts it. Unknown fields are kept. Options and target_names are not read from it, only from the parameters.'
  }
)
const besides = { ...Envelope.properties, options: Type.Optional(PublishOptions) }
const PublishBody = Type.Union([
  AlertmanagerWebhook,
  Type.Object({ alert: AlertInput, ...besides }, { description: 'One alert.' }),
  Type.Object(
    { alerts: Type.Array(AlertInput, { minItems: 1 }), ...besides },
    { description: 'Several alerts, as one notification.' }
  )
])

const asText = (option: keyof PublishOptions) =>
  Type.Optional(Type.String({ description: `As options.${option}, which counts where both are given.` }))
const PublishQuery = Type.Object({
  target: Type.Optional(
    Type.Array(Type.String(), {
      description: 'Target names, repeated: as target_names, which counts where both are given.'
    })
  ),
  timeout: asText('timeout'),
  max_concurrent: asText('max_concurrent'),
  check_health: asText('check_health'),
  health_strategy: asText('health_strategy'),
  respect_circuit_breakers: asText('respect_circuit_breakers')
})

const Failed = Type.Object({ ...ErrorBody.properties, ...Type.Partial(PublishResult).properties })
const answers = {
  200: PublishResult,
  202: PublishResult,
  207: PublishResult,
  400: ErrorBody,
  404: Failed,
  413: ErrorBody,
  415: ErrorBody,
  502: Failed,
  503: Failed,
  504: Failed
}
const statuses = {
  200: 'every target that was let through has it; success is false where there was none',
  202: 'nobody has it yet, and everybody who should is durably owed it',
  207: 'some have it, the others are owed it or refused it'
}
const described = Object.fromEntries(
  Object.entries(answers).map(([status, schema]) => [
    status,
    { ...schema, description: statuses[status as unknown as 200] ?? 'an error, with the result where there is one' }
  ])
)

const paths: Record<Scope, string> = { named: '', all: '/all', healthy: '/healthy' }
const summaries: Record<Scope, string> = {
  named: 'Publish to the named targets',
  all: 'Publish to every enabled target',
  healthy: 'Publish to every enabled target that health lets through'
}

/** Bodies that are gone into before others get the event loop; larger ones share it among themselves. */
const startedAtOnce = 16

/** The publish routes and explain. */
export function publishRoutes(app: FastifyInstance, deps: PublishRoutes): void {
  const arrived = new Batch<() => void>(goOn => goOn(), startedAtOnce)

  for (const scope of scopes) {
    app.post(
      `/api/v1/publish/parallel${paths[scope]}`,
      {
        config: { role: 'publish', publishes: true },
        schema: {
          summary: summaries[scope],
          tags: ['publish'],
          body: PublishBody,
          querystring: PublishQuery,
          response: described,
          headers: Type.Object({
            'idempotency-key': Type.Optional(
              Type.String({ description: 'Makes a retry safe for bodies that are not Alertmanager’s.' })
            )
          })
        },
        validatorCompiler: readNothing
      },
      (request, reply) => publish(request, reply, scope)
    )
  }

  app.post(
    '/api/v1/publish/explain',
    {
      config: { role: 'publish', publishes: true },
      schema: {
        summary: 'What a publish would do, without doing it',
        tags: ['publish'],
        body: PublishBody,
        response: { 200: Explanation, 400: ErrorBody, 413: ErrorBody, 415: ErrorBody, 503: ErrorBody },
        querystring: Type.Object({
          scope: Type.Optional(Type.Enum([...scopes], { default: 'all' })),
          ...PublishQuery.properties
        })
      },
      validatorCompiler: readNothing
    },
    async (request, reply) => {
      const scope = String((request.query as Record<string, unknown>).scope ?? 'all')
      if (!isScope(scope)) {
        throw new ApiError('INVALID_INPUT', {
          details: [{ field: 'scope', message: 'is not a scope', suggestion: `use one of: ${scopes.join(', ')}` }]
        })
      }
      const reading = await read(jsonBytes(request))
      const { accepted, options, names } = understood(request, reading, scope)
      const { notification } = accepted
      const explanation = await deps.explain({ notification, scope, options, ...(names ? { names } : {}) })
      return reply.header('content-type', jsonType).send(Readable.from(textOf(explanation)))
    }
  )

  async function publish(request: FastifyRequest, reply: FastifyReply, scope: Scope): Promise<FastifyReply> {
    const arrivedAt = deps.now()
    await new Promise<void>(resolve => arrived.add(resolve))
    let bytes: Buffer
    let asked: Asked
    try {
      bytes = jsonBytes(request)
      const reading = read(bytes)
      asked = understood(request, reading instanceof Promise ? await reading : reading, scope)
    } catch (error) {
      deps.received(undefined)
      throw error
    }
    const { accepted, options, names } = asked
    deps.received(accepted)
    waitForAnswer(request, options.timeoutMs)
    const { raw } = reply
    let gone: (() => void) | undefined
    let answered: (() => void) | undefined
    let rest: Promise<void> | undefined
    request.over = () => {
      if (raw.writableFinished) answered?.()
      else gone?.()
      return rest
    }
    const { 'idempotency-key': idempotencyKey, traceparent } = request.headers
    const published = await deps.publish({
      accepted,
      scope,
      options,
      bytes,
      arrivedAt,
      sender: request.ip,
      names,
      // An empty one is what a variable without a value makes: it stands for no body.
      idempotencyKey: typeof idempotencyKey === 'string' && idempotencyKey !== '' ? idempotencyKey : undefined,
      traceparent: typeof traceparent === 'string' && isTraceparent(traceparent) ? traceparent : undefined,
      onGone: callback => {
        if (raw.destroyed) callback()
        gone = callback
      }
    })
    if (published.kind === 'no_enabled_targets') throw new ApiError('NO_ENABLED_TARGETS', { retryAfterSeconds: 5 })
    if (published.kind === 'cancelled') return reply.code(499).send()
    answered = published.answered
    rest = published.rest
    const { result, verdict } = published
    if (verdict.status >= 503) reply.header('retry-after', '5')
    const answer = 'code' in verdict ? { ...errorBody(verdict.code), ...result } : result
    return reply.code(verdict.status).header('content-type', jsonType).send(JSON.stringify(answer))
  }

  /** Whoever sends little need not wait for a turn. */
  function read(bytes: Buffer): Reading<Accepted> | Promise<Reading<Accepted>> {
    if (bytes.length <= parsedAtOnce) return accept(parsed(bytes), bytes, deps.now())
    return parsedInTurns(bytes).then(body => acceptInTurns(body, bytes, deps.now()))
  }

  /** Throws INVALID_INPUT with all that is wrong with the body and the query. */
  function understood(request: FastifyRequest, reading: Reading<Accepted>, scope: Scope): Asked {
    const query = request.query as Record<string, unknown>
    const wished = optionsFromQuery(query)
    const fromQuery = query.target === undefined ? undefined : [query.target].flat().map(String)
    const names = reading.ok ? (reading.value.targetNames ?? fromQuery) : undefined
    const nameless = reading.ok && isWithoutNames(names, scope)
    if (!reading.ok || !wished.ok || nameless) {
      const problems = [reading, wished].flatMap(each => (each.ok ? [] : each.problems))
      throw new ApiError('INVALID_INPUT', { details: nameless ? [...problems, noNames(scope)] : problems })
    }
    const accepted = reading.value
    const own = Object.keys(wished.value).length === 0 && Object.keys(accepted.options).length === 0
    const options = own ? deps.defaults : effectiveOptions(deps.defaults, { ...wished.value, ...accepted.options })
    return { accepted, names, options }
  }
}

const jsonType = 'application/json; charset=utf-8'

/** What a request asks for. */
interface Asked {
  readonly accepted: Accepted
  readonly names: readonly string[] | undefined
  readonly options: EffectiveOptions
}

/** An empty list means nobody: whoever made it out of something that came out empty does not mean everybody. */
function isWithoutNames(names: readonly string[] | undefined, scope: Scope): boolean {
  return names ? names.length === 0 : scope === 'named'
}

function noNames(scope: Scope): Problem {
  return scope === 'named'
    ? {
        field: 'target_names',
        message: 'is required here',
        suggestion: 'name targets in target_names or ?target=, or use /all'
      }
    : { field: 'target_names', message: 'is empty', suggestion: 'name targets, or leave it out' }
}

function isScope(text: string): text is Scope {
  return (scopes as readonly string[]).includes(text)
}

/** W3C Trace Context, version 00. */
function isTraceparent(text: string): boolean {
  return /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.test(text)
}
