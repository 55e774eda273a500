import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController
} from 'fastify'
import type { TSchema } from 'typebox'
import { stringify } from 'yaml'
import type { Access } from './access.js'
import { refuseConnection } from './client-errors.js'
import { ApiError, type ErrorCode, errorBody } from './errors.js'
import { StoreUnavailable } from './queues/contract.js'
import { type DeliveryRoutes, deliveryRoutes } from './routes/deliveries.js'
import { ErrorBody, quietMs, readInput } from './routes/http.js'
import { type MetricsRoutes, metricsRoutes } from './routes/metrics.js'
import { onceOver } from './routes/over.js'
import { pageRoutes } from './routes/page.js'
import { type PublishRoutes, publishRoutes } from './routes/publish.js'
import { type QueueRoutes, queueRoutes } from './routes/queue.js'
import { type StatisticsRoutes, statisticsRoutes } from './routes/statistics.js'
import { type StatusRoutes, statusRoutes } from './routes/status.js'
import { type TargetRoutes, targetRoutes } from './routes/targets.js'
import { reader } from './schema.js'

export interface AppDeps {
  readonly log: FastifyBaseLogger
  readonly version: string
  /** Largest body, in bytes. */
  readonly bodyLimit: number
  readonly maxInFlight: number
  /** Of large bodies that are under way at once, in bytes; one alone is taken whatever it has. */
  readonly maxLargeBytes: number
  readonly access: Access
  readonly publish: PublishRoutes
  readonly targets: TargetRoutes
  readonly queue: QueueRoutes
  readonly deliveries: DeliveryRoutes
  readonly status: StatusRoutes
  readonly statistics: StatisticsRoutes
  readonly metrics: MetricsRoutes
}

/** Of a name or id in a path; a target's name can have 63, and may come percent-encoded. */
const mostParamUnits = 1_000

/** Bodies of so many bytes count against `maxLargeBytes`. */
const largeBytes = 1_000_000

/** The HTTP side of the service: every route, ready to listen or to be injected into. */
export async function buildApp(deps: AppDeps): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: deps.log,
    // Nothing is logged by the request, so none needs a logger of its own.
    childLoggerFactory: logger => logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: deps.bodyLimit,
    requestTimeout: 60_000,
    connectionTimeout: quietMs,
    // Above the 60 s that load balancers keep idle connections, so that they close first.
    keepAliveTimeout: 75_000,
    forceCloseConnections: 'idle',
    // A redirect would turn Alertmanager's POST into a GET: both spellings are the same route.
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, maxParamLength: mostParamUnits },
    return503OnClosing: false,
    clientErrorHandler: refuseConnection,
    // Of paths that cannot be decoded; Fastify's own answer repeats them.
    frameworkErrors: (_error, _request, reply: FastifyReply) => {
      reply.code(400).header('x-content-type-options', 'nosniff')
      reply.send(errorBody('INVALID_INPUT', 'the path is not a valid URL path'))
    }
  })

  // Bodies stay bytes: publish passes them on as they came, and each route says what it takes.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.setValidatorCompiler(readInput)
  app.setSerializerCompiler(() => data => JSON.stringify(data))

  app.setErrorHandler((fault: FastifyError | ApiError | StoreUnavailable, _request, reply) => {
    const error = fault instanceof StoreUnavailable ? queueAway(fault) : fault
    if (error instanceof ApiError) {
      if (error.code === 'UNAUTHORIZED') reply.header('www-authenticate', 'Bearer')
      if (error.retryAfterSeconds !== undefined) reply.header('retry-after', String(error.retryAfterSeconds))
      return reply.code(error.statusCode).send(errorBody(error.code, error.message, error.details))
    }
    const code = codeOf(error.statusCode)
    // Only the kind of a fault is logged: its text can carry what a caller sent.
    if (code === 'INTERNAL')
      deps.log.error(
        { error: error.name, code: error.code, at: error.stack?.split('\n')[1]?.trim() },
        'a request failed'
      )
    // Who is cut off while sending sees a broken connection, and tries again: what is left of the body is read over instead.
    if (code === 'TOO_LARGE') reply.removeHeader('connection')
    const body = errorBody(code)
    return reply.code(body.statusCode as number).send(body)
  })
  app.setNotFoundHandler((_request, reply) => reply.code(404).send(errorBody('NOT_FOUND')))

  /** Publish requests from their head on: those whose body is still coming take memory as well. */
  let open = 0
  /** Bytes of the large bodies among them. */
  let largeOpen = 0
  const closed = (large: number): void => {
    open--
    largeOpen -= large
  }
  app.decorateRequest('over', undefined)
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-content-type-options', 'nosniff')
    // Where there is nothing, no role is missing: a mistyped path must not look like a wrong token.
    const { role = request.is404 ? 'open' : 'read', publishes } = request.routeOptions.config
    const large = publishes ? largeOf(request) : 0
    const refusal =
      deps.access.check(request.headers, request.method, role) ?? (publishes ? overload(large) : undefined)
    if (publishes && !refusal) {
      open++
      largeOpen += large
      onceOver(request.raw, reply.raw, () => {
        const rest = request.over?.()
        if (rest) void rest.then(() => closed(large))
        else closed(large)
      })
    }
    done(refusal)
  })
  app.addHook('onResponse', (request, reply, done) => {
    deps.metrics.onResponse(
      request.routeOptions.url ?? 'unknown',
      request.method,
      reply.statusCode,
      reply.elapsedTime / 1000
    )
    done()
  })

  function overload(large: number): ApiError | undefined {
    const readiness = deps.status.readiness()
    if (readiness === 'draining') return new ApiError('DRAINING', { retryAfterSeconds: 5 })
    if (readiness === 'starting') return new ApiError('NOT_READY', { retryAfterSeconds: 2 })
    const isFull = Math.max(open, deps.status.inFlight().publishes) >= deps.maxInFlight
    // What does not fit into memory ends the process, and with it everybody's alerts.
    const isTooMuch = large > 0 && largeOpen > 0 && largeOpen + large > deps.maxLargeBytes
    return isFull || isTooMuch ? new ApiError('OVERLOADED', { retryAfterSeconds: 1 }) : undefined
  }

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'alert-fanout',
        version: deps.version,
        description: 'Publishes one alert to many targets in parallel, tells what happened at each, and loses none.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' }
      },
      components: {
        securitySchemes: {
          token: { type: 'http', scheme: 'bearer', description: 'Only where API_TOKENS_FILE is set.' }
        },
        responses: { ...ofBodies, ...ofQueue, ...refusals }
      },
      security: [{}, { token: [] }]
    },
    transform: ({ schema, url, route }) => {
      const role = route.config?.role ?? 'read'
      const described = role === 'open' || schema?.hide ? schema : { ...schema, description: `Token: ${role}.` }
      return { url, schema: described }
    },
    transformObject: document => {
      if (!('openapiObject' in document)) return document.swaggerObject
      const paths = (document.openapiObject.paths ?? {}) as Record<string, Record<string, Operation>>
      for (const [method, operation] of Object.values(paths).flatMap(Object.entries)) complete(method, operation)
      return document.openapiObject
    }
  })
  await app.register(async docs => {
    // They hold no more than openapi.json, and a browser has no token to send along.
    docs.addHook('onRoute', route => {
      route.config = { ...route.config, role: 'open' }
    })
    await docs.register(swaggerUi, {
      routePrefix: '/docs',
      staticCSP: true,
      // Its own policy has the browser ask for everything by https, which nobody may be serving here.
      transformStaticCSP: policy => policy.replace(/\s*upgrade-insecure-requests;?/, ''),
      uiConfig: { docExpansion: 'list' }
    })
  })

  // Registered after the documents, which list what comes after them.
  await app.register(async routes => {
    publishRoutes(routes, deps.publish)
    targetRoutes(routes, deps.targets)
    deliveryRoutes(routes, deps.deliveries)
    queueRoutes(routes, deps.queue)
    statusRoutes(routes, deps.status)
    statisticsRoutes(routes, deps.statistics)
    metricsRoutes(routes, deps.metrics)
    pageRoutes(routes, deps)
    const hidden = { hide: true }
    routes.get('/openapi.json', { config: { role: 'open' }, schema: hidden }, async () => app.swagger())
    routes.get('/openapi.yaml', { config: { role: 'open' }, schema: hidden }, (_request, reply) => {
      reply.header('content-type', 'application/yaml').send(openApiText(app))
    })
  })
  return app
}

/** The API's description as the committed openapi.yaml has it. */
export function openApiText(app: FastifyInstance): string {
  return stringify(JSON.parse(JSON.stringify(app.swagger())), { lineWidth: 120, aliasDuplicateObjects: false })
}

interface Operation {
  description?: string
  tags?: readonly string[]
  requestBody?: { required: boolean; content: Record<string, { schema: TSchema }> }
  responses: Record<string, object>
}

/** Adds to an operation what the plugin cannot know of it. */
function complete(method: string, { description, tags, requestBody, responses }: Operation): void {
  // The plugin calls every body required. One that may be empty may be left out, as `readInput` reads it.
  if (requestBody)
    requestBody.required = Object.values(requestBody.content).every(({ schema }) => !reader(schema)({}).ok)
  const more = [
    ...(method === 'post' ? Object.keys(ofBodies) : []),
    ...(tags?.some(tag => queueTags.includes(tag)) ? Object.keys(ofQueue) : []),
    ...(description?.startsWith('Token: ') ? Object.keys(refusals) : [])
  ]
  for (const status of more) responses[status] ??= { $ref: `#/components/responses/${status}` }
}

/** How long the body is, if that is much; a chunked one does not say. */
function largeOf({ headers }: FastifyRequest): number {
  const length = Number(headers['content-length'])
  return length >= largeBytes ? length : 0
}

const queueAway = ({ message }: StoreUnavailable): ApiError =>
  new ApiError('QUEUE_UNAVAILABLE', { message: `${message}: try again`, retryAfterSeconds: 5 })

const refusal = (description: string) => ({ description, content: { 'application/json': { schema: ErrorBody } } })
/** Answers of every route that reads a body, if only to see that there is none. */
const ofBodies = {
  400: refusal('the request is not valid'),
  413: refusal('the body is larger than BODY_LIMIT'),
  415: refusal('the body is of a type that cannot be read')
}
/** Tags of the routes that read or change what the store keeps, and their answer when it is away. */
const queueTags = ['queue', 'dead letters', 'deliveries']
const ofQueue = { 503: refusal('the queue cannot be reached') }
/** Answers of every route that wants a token. */
const refusals = { 401: refusal('no token that is known'), 403: refusal('the token’s role does not allow this') }

function codeOf(statusCode: number | undefined): ErrorCode {
  if (statusCode === 413) return 'TOO_LARGE'
  if (statusCode === 415) return 'NOT_JSON'
  return statusCode !== undefined && statusCode < 500 ? 'INVALID_INPUT' : 'INTERNAL'
}
