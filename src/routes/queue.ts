import Type, { type Static } from 'typebox'
import { Alert } from '../alert.js'
import { ApiError } from '../errors.js'
import type { DeadLetters, ReplayOptions } from '../pipeline/dead-letters.js'
import { type DeadLetter, type Entry, entryId, priority } from '../pipeline/entry.js'
import { priorities, type Store } from '../queues/contract.js'
import { Duration } from '../schema.js'
import { errorReasons } from '../targets/contract.js'
import { ErrorBody, pageOf, pageSize, paging, type Routes } from './http.js'

export interface QueueRoutes {
  readonly store: Store
  readonly deadLetters: DeadLetters
  workers(): { total: number; active: number }
  /** Something may be due now. */
  wake(): void
  /** Between two replayed letters of a target, in milliseconds. */
  readonly replaySpacingMs: number
  now(): number
}

export const Attempt = Type.Object({
  at: Type.String({ description: 'RFC 3339.' }),
  duration_ms: Type.Number(),
  status_code: Type.Optional(Type.Integer()),
  error_reason: Type.Optional(Type.String()),
  error: Type.Optional(Type.String())
})

/** What waits for a target, or was given up. */
const EntryView = Type.Object({
  id: Type.String(),
  target: Type.String(),
  target_type: Type.String(),
  priority: Type.Enum([...priorities]),
  publish_id: Type.String(),
  receiver: Type.String(),
  group_key: Type.String(),
  alerts: Type.Array(Alert),
  accepted_at: Type.String(),
  due_at: Type.String(),
  tries: Type.Integer(),
  attempts: Type.Array(Attempt),
  error: Type.Optional(Type.String()),
  error_type: Type.Optional(Type.String()),
  error_reason: Type.Optional(Type.Enum([...errorReasons]))
})
const DeadLetterView = Type.Object({ ...EntryView.properties, buried_at: Type.String() })

const iso = (ms: number): string => new Date(ms).toISOString()

/** An entry as the API shows it. It carries no credential to hide. */
function entryView(entry: Entry): Static<typeof EntryView> {
  const { failure } = entry
  return {
    id: entry.id,
    target: entry.target,
    target_type: entry.type,
    priority: priority(entry),
    publish_id: entry.publish_id,
    receiver: entry.group.receiver,
    group_key: entry.group.group_key,
    alerts: entry.alerts.map(({ alert }) => alert),
    accepted_at: iso(entry.accepted_at),
    due_at: iso(entry.due_at),
    tries: entry.tries,
    attempts: entry.attempts.map(attempt => ({ ...attempt, at: iso(attempt.at) })),
    ...(failure ? { error: failure.message, error_type: failure.type, error_reason: failure.reason } : {})
  }
}

const letterView = (letter: DeadLetter): Static<typeof DeadLetterView> => ({
  ...entryView(letter),
  buried_at: iso(letter.buried_at)
})

const Counts = Type.Object(Object.fromEntries(priorities.map(name => [name, Type.Integer()])))
/** The queue as `/status` and `/api/v1/queue` show it. */
export const Queue = Type.Object({
  backend: Type.String(),
  available: Type.Boolean(),
  warnings: Type.Array(Type.String()),
  unwritten: Type.Integer({ description: 'Outcomes that are kept until the store can be written again.' }),
  depth: Type.Union([Type.Integer(), Type.Null()], {
    description: 'How many entries are owed; null while the queue cannot be asked: nobody knows then.'
  }),
  by_priority: Type.Union([Counts, Type.Null()], { description: 'Null as depth is.' }),
  oldest_age_ms: Type.Union([Type.Number(), Type.Null()], {
    description: 'Milliseconds since the oldest entry was accepted; null where there is none.'
  }),
  workers: Type.Object({ total: Type.Integer(), active: Type.Integer(), idle: Type.Integer() }),
  targets: Type.Array(
    Type.Object({ target: Type.String(), depth: Type.Integer(), by_priority: Counts, oldest_age_ms: Type.Number() })
  )
})

/** The queue as it is now. */
export async function queueView({
  store,
  workers,
  now
}: Pick<QueueRoutes, 'store' | 'workers' | 'now'>): Promise<Static<typeof Queue>> {
  const status = await store.status()
  const depths = await Promise.resolve(store.depths()).catch(() => undefined)
  const at = now()
  const targets = (depths ?? []).map(({ target, counts, oldest }) => ({
    target,
    depth: priorities.reduce((sum, name) => sum + counts[name], 0),
    by_priority: { ...counts },
    oldest_age_ms: at - Math.min(...Object.values(oldest), at)
  }))
  const { total, active } = workers()
  const known = depths && {
    depth: targets.reduce((sum, { depth }) => sum + depth, 0),
    by_priority: Object.fromEntries(
      priorities.map(name => [name, targets.reduce((sum, target) => sum + target.by_priority[name]!, 0)])
    )
  }
  return {
    backend: status.backend,
    available: status.available,
    warnings: [...status.warnings],
    unwritten: status.unwritten,
    ...(known ?? { depth: null, by_priority: null }),
    oldest_age_ms: targets.length === 0 ? null : Math.max(...targets.map(target => target.oldest_age_ms)),
    workers: { total, active, idle: total - active },
    targets
  }
}

const LetterFilter = { target: Type.Optional(Type.String()), error_reason: Type.Optional(Type.Enum([...errorReasons])) }
/** What is misspelt here would be done to more letters than was meant, so nothing unknown is passed over. */
const exact = { additionalProperties: false }
const nothing = Type.Object({}, exact)
const replayFields = {
  dry_run: Type.Optional(Type.Boolean({ default: false, description: 'true or false; true only counts' })),
  skip_resolved: Type.Optional(
    Type.Boolean({ default: true, description: 'true or false; true leaves out what has resolved since' })
  )
}
const ReplayOne = Type.Object(replayFields, exact)
const ReplayMany = Type.Object({ ...LetterFilter, ...replayFields }, exact)
const Replayed = Type.Object({
  matched: Type.Integer(),
  replayed: Type.Integer(),
  skipped_resolved: Type.Integer(),
  dry_run: Type.Boolean()
})
const Id = Type.Object({ id: Type.String() })

/** The queue and the dead letters. */
export function queueRoutes(app: Routes, deps: QueueRoutes): void {
  const { deadLetters, store } = deps
  const ListQuery = Type.Object({ ...paging, ...LetterFilter }, exact)

  const find = async ({ id }: Static<typeof Id>): Promise<DeadLetter> => {
    const letter = await deadLetters.get(id)
    if (!letter) throw new ApiError('NOT_FOUND', { message: 'no dead letter has this id' })
    return letter
  }
  const replayOptions = ({ dry_run, skip_resolved }: Static<typeof ReplayOne>): ReplayOptions => ({
    dryRun: dry_run === true,
    skipResolved: skip_resolved === true,
    spacingMs: deps.replaySpacingMs
  })

  app.get(
    '/api/v1/queue',
    {
      config: { role: 'read' },
      schema: { summary: 'What is owed, and to whom', tags: ['queue'], response: { 200: Queue } }
    },
    () => queueView(deps)
  )

  app.get(
    '/api/v1/dead-letters',
    {
      config: { role: 'read' },
      schema: {
        summary: 'What was given up',
        tags: ['dead letters'],
        querystring: ListQuery,
        response: { 200: pageOf(DeadLetterView), 400: ErrorBody }
      }
    },
    async request => {
      const { limit = pageSize, cursor, ...filter } = request.query
      const after = cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString()
      const { letters, more } = await deadLetters.list(filter, after, limit)
      return {
        items: letters.map(letterView),
        next_cursor: more ? Buffer.from(letters.at(-1)!.id).toString('base64url') : null
      }
    }
  )

  app.get(
    '/api/v1/dead-letters/:id',
    {
      config: { role: 'read' },
      schema: {
        summary: 'One dead letter',
        tags: ['dead letters'],
        params: Id,
        response: { 200: DeadLetterView, 404: ErrorBody }
      }
    },
    async request => letterView(await find(request.params))
  )

  app.post(
    '/api/v1/dead-letters/:id/replay',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Put a dead letter back into the queue',
        tags: ['dead letters'],
        params: Id,
        querystring: nothing,
        body: ReplayOne,
        response: { 200: Replayed, 400: ErrorBody, 404: ErrorBody }
      }
    },
    async request => {
      const options = replayOptions(request.body)
      const replay = await deadLetters.replay([await find(request.params)], options)
      deps.wake()
      return { ...replay, dry_run: options.dryRun }
    }
  )

  app.post(
    '/api/v1/dead-letters/replay',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Put dead letters back into the queue, by filter',
        tags: ['dead letters'],
        querystring: nothing,
        body: ReplayMany,
        response: { 200: Replayed, 400: ErrorBody }
      }
    },
    async request => {
      const options = replayOptions(request.body)
      const replay = await deadLetters.replayAll(request.body, options)
      deps.wake()
      return { ...replay, dry_run: options.dryRun }
    }
  )

  app.delete(
    '/api/v1/dead-letters/:id',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Purge a dead letter',
        tags: ['dead letters'],
        params: Id,
        response: { 200: Type.Object({ purged: Type.Integer() }), 404: ErrorBody }
      }
    },
    async request => {
      await deadLetters.purge(await find(request.params))
      return { purged: 1 }
    }
  )

  app.delete(
    '/api/v1/dead-letters',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Purge dead letters older than a duration',
        tags: ['dead letters'],
        querystring: Type.Object({ older_than: Duration({ description: 'A duration, e.g. 168h.' }) }, exact),
        response: { 200: Type.Object({ purged: Type.Integer() }), 400: ErrorBody }
      }
    },
    async request => ({ purged: await deadLetters.purgeBefore(deps.now() - request.query.older_than) })
  )

  app.get(
    '/api/v1/queue/:id',
    {
      config: { role: 'read' },
      schema: {
        summary: 'One entry of the queue',
        tags: ['queue'],
        params: Id,
        response: { 200: EntryView, 404: ErrorBody }
      }
    },
    async request => {
      const [record] = await store.read([entryId(request.params.id)])
      if (!record) throw new ApiError('NOT_FOUND', { message: 'nothing waits under this id' })
      return entryView(record as unknown as Entry)
    }
  )
}
