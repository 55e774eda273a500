import { randomUUID } from 'node:crypto'
import type { Secret } from '../secret.js'
import {
  type Change,
  type Depth,
  type Fields,
  type Hold,
  LeaseLost,
  Overtaken,
  oneField,
  priorities,
  type Store,
  StoreUnavailable
} from './contract.js'
import { localHold } from './memory.js'
import { changed, isVain } from './record.js'
import { openLink } from './redis-link.js'
import { listed } from './redis-scripts.js'

export interface RedisOptions {
  readonly url: Secret
  /** Whether a Redis that is away at the start is waited for, as if it had just gone. Default: it is an error. */
  readonly patient?: boolean
  /** How long a lane stays taken after its process has gone, in milliseconds. Default 15 s; renewed at a third of it. */
  readonly leaseMs?: number
}

interface Lease extends Hold {
  readonly token: string
  until: number
}

const changesPerNote = 500
const maxUnwritten = 20_000
const bytesPerPage = 1_000_000
const retryMs = 1_000

/**
 * The store that many processes share, on Redis or Valkey. Plain structures and scripts instead of BullMQ: a delivery
 * needs leases on several lanes at once, all or none, and a record must change together with its place and under the
 * lease's protection, which jobs of BullMQ cannot give. While Redis is down every method fails within a second, but
 * `note` keeps what it is given (as much as 20,000 changes) and `hold` always succeeds: no order across processes
 * meanwhile. Only ids that start with `entry/` or `dead/` can be listed.
 */
export async function redisStore(options: RedisOptions): Promise<Store> {
  const { url, patient = false, leaseMs = 15_000 } = options
  const owner = `${randomUUID()}/`
  const leases = new Set<Lease>()
  let holds = 0

  /** Notes that Redis has not acknowledged, oldest first; the first `sent` of them are on their way. */
  const notes: (readonly Change[])[] = []
  let sent = 0
  let round = 0
  let failed = false
  let lost = 0
  /** Redis answers but takes no writes: it is full, or has lost its replicas. */
  let refused: { readonly message: string; readonly at: number } | undefined
  let retry: NodeJS.Timeout | undefined
  let scheduled = false

  /** Gives Redis all notes that it was not given yet: before anything else, so that later commands see them. */
  const push = () => {
    while (link.up() && !retry && sent < notes.length) {
      const batch: (readonly Change[])[] = []
      for (let count = 0; sent + batch.length < notes.length && count < changesPerNote; ) {
        const note = notes[sent + batch.length]!
        batch.push(note)
        count += note.length
      }
      sent += batch.length
      void give(batch, round)
    }
  }

  const written = async (args: readonly (string | number)[]) => {
    try {
      await link.run('write', args)
      refused = undefined
    } catch (error) {
      const isOwn = error instanceof LeaseLost || error instanceof Overtaken
      if (error instanceof StoreUnavailable && !isOwn && link.up()) refused = { message: error.message, at: Date.now() }
      throw error
    }
  }

  const give = async (batch: readonly (readonly Change[])[], ofRound: number) => {
    try {
      await written([Date.now(), 0, 0, ...flat(batch.flat())])
      if (ofRound !== round) return
      notes.splice(0, batch.length)
      sent -= batch.length
      if (notes.length === 0) failed = false
    } catch {
      if (ofRound !== round) return
      round++
      sent = 0
      failed = true
      retry = setTimeout(again, retryMs).unref()
    }
  }

  const again = () => {
    clearTimeout(retry)
    retry = undefined
    push()
  }

  const unwritten = () => notes.reduce((sum, note) => sum + note.length, 0)

  const ask = (...[script, args]: Parameters<typeof link.run>) => {
    push()
    return link.run(script, [Date.now(), ...args])
  }

  const renew = async () => {
    const now = Date.now()
    const held = [...leases].filter(lease => lease.until > now)
    if (held.length === 0) return
    const pairs = held.flatMap(lease => lease.lanes.flatMap(lane => [lane, lease.token]))
    try {
      const answers = (await link.run('renew', [leaseMs, ...pairs])) as number[]
      let position = 0
      for (const lease of held) {
        const mine = lease.lanes.every((_, lane) => answers[position + lane] === 1)
        position += lease.lanes.length
        lease.until = mine ? now + leaseMs : 0
      }
    } catch {
      // The leases run out by themselves if this goes on.
    }
  }

  const link = await openLink(url, { patient, onUp: () => again() })
  const renewer = setInterval(renew, leaseMs / 3).unref()

  const note = (changes: readonly Change[]): void => {
    if (changes.length === 0) return
    notes.push(changes)
    while (notes.length > 1 && sent === 0 && failedOrDown() && unwritten() > maxUnwritten) lost += notes.shift()!.length
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      push()
    })
  }

  return {
    backend: 'redis',
    durable: true,
    shared: true,
    // A replica that is killed takes its last notes along, but none that others had to know: notes go before a read, and
    // nobody sends anything before what is on record of its alerts was read, with what was noted of them.
    interruptedAt: 0,
    async read(ids, only) {
      push()
      const now = Date.now()
      const namesOf = (index: number) => only?.[index] && ['e', ...only[index].map(name => `.${name}`)]
      const hashes = await Promise.all(ids.map((id, index) => link.hash(`r:${id}`, namesOf(index))))
      const records = hashes.map(hash => fieldsOf(hash, now))
      return failed ? withNotes(ids, records) : records
    },
    async write(changes, hold) {
      if (changes.length === 0) return
      push()
      const lease = hold && leases.has(hold as Lease) ? (hold as Lease) : undefined
      const fence = lease ? lease.lanes.flatMap(lane => [lane, lease.token]) : []
      const goneBy = changes.flatMap(({ id, was }) =>
        Object.entries(was ?? {}).flatMap(([name, value]) => [id, name, textOf(value)])
      )
      await written([Date.now(), fence.length / 2, ...fence, goneBy.length / 3, ...goneBy, ...flat(changes)])
    },
    note,
    mark: (id, field, value, expiresAt) => note([{ id, set: oneField(field, value), expiresAt }]),
    async hold(lanes) {
      const now = Date.now()
      const token = `${owner}${++holds}`
      let held: unknown
      try {
        held = await link.run('hold', [owner, token, leaseMs, ...lanes])
      } catch (error) {
        if (error instanceof StoreUnavailable) return localHold(lanes)
        throw error
      }
      if (held === 0) return undefined
      const lease: Lease = {
        lanes,
        token,
        inherited: held as string[],
        until: now + leaseMs,
        valid: () => lease.until > Date.now()
      }
      leases.add(lease)
      return lease
    },
    release(hold) {
      const lease = hold as Lease
      // Whoever gets the lanes next must find what was noted in them.
      push()
      if (leases.delete(lease)) link.run('release', [lease.token, ...lease.lanes]).catch(() => {})
    },
    async taken(lanes) {
      return (await link.run('taken', lanes)) as string[]
    },
    async next() {
      return Number(await link.run('next', []))
    },
    async due(target, priority, now, limit) {
      return (await ask('due', [target, priority, now === Infinity ? '+inf' : now, limit])) as string[]
    },
    async earliest() {
      const answer = (await ask('earliest', [])) as string[]
      return new Map(pairs(answer).map(([target, dueAt]) => [target, Number(dueAt)]))
    },
    async hasten(target, dueAt) {
      while ((await ask('hasten', [target, dueAt, changesPerNote])) !== 0);
    },
    async owed(target) {
      return (await ask('owed', [target])) as number
    },
    async depths() {
      const answer = (await ask('depths', [])) as (string | number)[]
      return Array.from({ length: answer.length / 7 }, (_, index) => depthOf(answer.slice(7 * index, 7 * index + 7)))
    },
    async weakest(target, limit) {
      return (await ask('weakest', [target, limit])) as string[]
    },
    async list(prefix, after, limit, only) {
      if (!listed.some(family => prefix.startsWith(family))) throw new Error(`records under ${prefix} cannot be listed`)
      const now = Date.now()
      const names = only ? ['e', ...only.map(name => `.${name}`)] : []
      let from = after === undefined || after < prefix ? `[${prefix}` : `(${after}`
      for (;;) {
        const args = [from, `(${prefix}\u{10ffff}`, limit, bytesPerPage, ...names]
        const page = pairs((await ask('list', args)) as (string | string[])[])
        const found = page.flatMap(([id, flatHash]) => {
          const fields = fieldsOf(Object.fromEntries(pairs(flatHash as string[])), now)
          return fields ? [{ id: id as string, fields }] : []
        })
        // Of those whose time is over there may be pages full.
        if (found.length > 0 || page.length === 0) return found
        from = `(${page.at(-1)![0]}`
      }
    },
    status: () => ({
      backend: 'redis',
      available: link.up() && !isRefusing(),
      warnings: [
        ...(isRefusing() ? [refused!.message] : []),
        ...(link.up() ? link.warnings() : ['Redis is not reachable']),
        ...(lost > 0 ? [`${lost} outcomes were lost while Redis could not be written`] : [])
      ],
      unwritten: failedOrDown() ? unwritten() : 0
    }),
    async close() {
      clearInterval(renewer)
      push()
      for (const lease of leases) link.run('release', [lease.token, ...lease.lanes]).catch(() => {})
      const until = Date.now() + retryMs
      while (notes.length > 0 && !failedOrDown() && Date.now() < until) await new Promise(setImmediate)
      clearTimeout(retry)
      await link.close()
    }
  }

  function failedOrDown(): boolean {
    return failed || !link.up()
  }

  /** What was refused long ago says nothing of now, unless something still waits to be written. */
  function isRefusing(): boolean {
    return refused !== undefined && (failed || Date.now() - refused.at < 10 * retryMs)
  }

  /** The records with what this process noted of them and Redis does not take: else it would do the same again. */
  function withNotes(ids: readonly string[], records: readonly (Fields | undefined)[]): (Fields | undefined)[] {
    const noted = new Map(ids.map((id, index) => [id, records[index]]))
    for (const change of notes.flat()) {
      if (!noted.has(change.id)) continue
      const before = noted.get(change.id)
      const kept = before && { fields: before, expiresAt: Infinity }
      if (!isVain(change, kept, 0)) noted.set(change.id, changed(kept, { ...change, expiresAt: Infinity }, 0)?.fields)
    }
    return ids.map(id => noted.get(id))
  }
}

/** Changes as the arguments of the script `write`: eight for each, then its fields; an empty value removes one. */
function flat(changes: readonly Change[]): (string | number)[] {
  const args: (string | number)[] = []
  for (const { id, set, replace, update, drop, tidy, expiresAt, place } of changes) {
    const mode = drop ? 'drop' : replace ? 'replace' : update ? 'update' : tidy ? 'tidy' : 'merge'
    const ends = expiresAt === undefined ? '' : expiresAt === Infinity ? 'inf' : expiresAt
    args.push(id, mode, ends)
    if (place) args.push(place.priority, place.dueAt, place.acceptedAt, place.target)
    else args.push(place === null ? 'none' : '', 0, 0, '')
    const fields = Object.entries(set ?? {}).filter(([, value]) => value !== undefined)
    args.push(fields.length)
    for (const [name, value] of fields) args.push(name, textOf(value))
  }
  return args
}

const textOf = (value: unknown): string => (value === null ? '' : JSON.stringify(value))

function fieldsOf(hash: Record<string, string>, now: number): Fields | undefined {
  if (hash.e === undefined || (hash.e !== 'inf' && Number(hash.e) <= now)) return undefined
  const fields: Fields = {}
  for (const [name, text] of Object.entries(hash)) if (name.startsWith('.')) fields[name.slice(1)] = JSON.parse(text)
  return fields
}

function depthOf([target, ...numbers]: (string | number)[]): Depth {
  const counts = { high: 0, medium: 0, low: 0 }
  const oldest: Partial<typeof counts> = {}
  for (const [index, priority] of priorities.entries()) {
    counts[priority] = Number(numbers[2 * index])
    if (counts[priority] > 0) oldest[priority] = Number(numbers[2 * index + 1])
  }
  return { target: target as string, counts, oldest }
}

function pairs<T>(list: readonly T[]): [T, T][] {
  return Array.from({ length: list.length / 2 }, (_, index) => [list[2 * index]!, list[2 * index + 1]!])
}
