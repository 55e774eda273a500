import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { asBinary, type Database, open, type RootDatabase } from 'lmdb'
import { damaged, type Place, reason, StoreUnavailable } from './contract.js'
import { type Journal, journalFiles, openJournal } from './journal.js'
import { lockDirectory } from './lock.js'
import { endIn, type Kept, read } from './record.js'
import { openRoom, proveRoom, type Room } from './room.js'
import { needsUpgrade, upgrade } from './upgrades.js'
import { verify } from './verify.js'

/** What a checkpoint writes for one record. */
export interface TableRow {
  readonly id: string
  /** The record, with its end, or that in UTF-8. Absent: it is removed. */
  readonly text: string | Buffer | undefined
  /** Absent: its place stays as it is on disk. */
  readonly place: Place | null | undefined
}

/**
 * The directory of the embedded store: a journal of changes, which makes them durable at the price of one sequential
 * write for many, and the tables in LMDB that a checkpoint brings up to date with it. Every promise resolves after fsync.
 */
export interface Disk {
  /** When a process last found that the one before it had ended without `close`, in milliseconds since the epoch; 0: never. */
  readonly interruptedAt: number
  read(id: string): Kept | undefined
  place(id: string): Place | undefined
  places(): Iterable<{ id: string; place: Place; expiresAt: number }>
  /** What was journalled since the last checkpoint is in here. */
  readonly journal: Journal
  apply(rows: readonly TableRow[]): Promise<void>
  /** Remembers the last number that `next()` gave: the last write of a checkpoint. */
  settled(lastNumber: number): Promise<void>
  lastNumber(): number
  /** Records in id order: after `after`, or from `prefix` on. */
  range(prefix: string, after: string | undefined): Iterable<{ id: string; kept: Kept }>
  /** When each record after `after` ends, in id order. */
  ends(after: string | undefined): Iterable<{ id: string; expiresAt: number }>
  size(): number
  close(): Promise<void>
}

export type Tables = Readonly<Record<'meta' | 'records' | 'places', Database<string, string>>>

/** Locks, checks, upgrades and opens a directory, made with mode 0700. Rejects with `StoreUnavailable` and the reason. */
export async function openDisk(dir: string): Promise<Disk> {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new StoreUnavailable(`the queue directory ${dir} cannot be made${reason(cause)}`, { cause })
  }
  const unlock = await lockDirectory(dir)
  const file = join(dir, 'data.mdb')
  const fresh = !existsSync(file)
  try {
    verify(file)
    if (fresh && journalFiles(dir).length > 0) throw damaged(file, 'it is not there, but a journal is')
    if (fresh) await proveRoom(join(dir, 'room'))
    const env = open<string, string>({ ...options, path: dir })
    const room = await openRoom(file, () => usedBytes(env))
    try {
      const tables = openTables(env)
      const writer = writerOf(env, room)
      if (needsUpgrade(tables)) await writer(2 * usedBytes(env), async () => upgrade(env, tables, dir))
      const journal = guarded(openJournal(dir), file)
      const mark = join(dir, 'open')
      const interruptedAt = interruptionOf(mark, join(dir, 'interrupted'))
      writeFileSync(mark, '')
      const close = async () => {
        await journal.close()
        await env.close()
        await room.close()
        rmSync(mark, { force: true })
        unlock()
      }
      return diskOf(env, tables, { write: writer, journal, close, interruptedAt })
    } catch (error) {
      await env.close()
      await room.close()
      throw error
    }
  } catch (cause) {
    if (fresh) rmSync(file, { force: true })
    unlock()
    if (cause instanceof StoreUnavailable) throw cause
    throw new StoreUnavailable(`the queue directory ${dir} cannot be opened${reason(cause)}`, { cause })
  }
}

/** See `Disk.interruptedAt`; `last` is of that time, and says so without a byte, for which a full disk has room. */
function interruptionOf(mark: string, last: string): number {
  if (existsSync(mark)) {
    renameSync(mark, last)
    utimesSync(last, new Date(), new Date())
  }
  return statSync(last, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** How often it is asked whether the directory is still there, in milliseconds. */
const lookMs = 1_000

/** What is appended to files that were removed succeeds, and is gone with the process: such a journal takes nothing more. */
function guarded(journal: Journal, file: string): Journal {
  const { ino } = statSync(file)
  let seenAt = -Infinity
  const isThere = async () => (await stat(file).catch(() => undefined))?.ino === ino
  return {
    ...journal,
    async append(text) {
      if (performance.now() - seenAt > lookMs) {
        if (!(await isThere())) throw new StoreUnavailable('the queue directory was removed: restart the service')
        seenAt = performance.now()
      }
      return journal.append(text)
    }
  }
}

/**
 * With `overlappingSync` off a commit's promise resolves after fsync; with `eventTurnBatching` on a failed commit
 * rejects a promise inside lmdb-js that nobody can catch, which would end the process.
 */
const options = {
  noSubdir: false,
  overlappingSync: false,
  eventTurnBatching: false,
  encoding: 'string',
  maxDbs: 8
} as const

function openTables(env: RootDatabase<string, string>): Tables {
  return {
    meta: env.openDB({ name: 'meta', encoding: 'string' }),
    records: env.openDB({ name: 'records', encoding: 'string' }),
    places: env.openDB({ name: 'places', encoding: 'string' })
  }
}

/** What is left of the disk's own business: to write in turn, and to close. */
interface Handles {
  readonly write: Writer
  readonly journal: Journal
  readonly interruptedAt: number
  close(): Promise<void>
}

/** Commits what `begin` starts, once there is room for `bytes` and all commits before it are through. */
type Writer = (bytes: number, begin: () => Promise<unknown>) => Promise<void>

/** What a changed row can cost: its path through two trees, copied. */
const bytesPerRow = 16_384

/** For what every commit writes of its own. */
const bytesPerCommit = 1_048_576

function writerOf(env: RootDatabase<string, string>, room: Room): Writer {
  let before: Promise<unknown> = Promise.resolve()
  return (bytes, begin) => {
    const write = async () => {
      await room.ensure(bytes + bytesPerCommit)
      await durable(begin())
      env.resetReadTxn()
    }
    const result = before.then(write)
    before = result.catch(() => {})
    return result
  }
}

function usedBytes(env: RootDatabase<string, string>): number {
  const { lastPageNumber, pageSize } = env.getStats() as { lastPageNumber: number; pageSize: number }
  return (lastPageNumber + 1) * pageSize
}

function diskOf(env: RootDatabase<string, string>, tables: Tables, handles: Handles): Disk {
  const { meta, records, places } = tables
  const { write, journal, close, interruptedAt } = handles
  return {
    read: id => decoded(records.get(id)),
    place: id => placed(places.get(id))?.place,
    *places() {
      for (const { key, value } of places.getRange()) yield { id: key, ...placed(value)! }
    },
    journal,
    apply(rows) {
      const bytes = rows.reduce((sum, { text = '' }) => sum + 2 * Buffer.byteLength(text), 0)
      const batch = () =>
        env.batch(() => {
          for (const { id, text, place } of rows) {
            if (text === undefined) quiet(records.remove(id))
            else quiet(records.put(id, typeof text === 'string' ? text : (asBinary(text) as unknown as string)))
            if (place)
              quiet(places.put(id, JSON.stringify(placeRow(place, text === undefined ? Infinity : endIn(text)))))
            else if (place === null) quiet(places.remove(id))
          }
        })
      return write(bytes + rows.length * bytesPerRow, batch)
    },
    settled: lastNumber => write(0, () => meta.put('last_number', String(lastNumber))),
    lastNumber: () => Number(meta.get('last_number') ?? 0),
    *range(prefix, after) {
      const start = after === undefined || after < prefix ? prefix : after
      for (const { key, value } of records.getRange({ start, exclusiveStart: start === after })) {
        if (!key.startsWith(prefix)) return
        yield { id: key, kept: decoded(value)! }
      }
    },
    *ends(after) {
      for (const { key, value } of records.getRange({ start: after, exclusiveStart: true })) {
        yield { id: key, expiresAt: endIn(value) }
      }
    },
    size: () => (records.getStats() as { entryCount: number }).entryCount,
    interruptedAt,
    close
  }
}

/** LMDB takes keys of up to 1,978 bytes: a longer id is kept under its hash. Every key is its own key. */
export function keyOf(id: string): string {
  return id.length <= 300 ? id : `${id.slice(0, 64)}~${createHash('sha256').update(id).digest('hex')}`
}

function decoded(text: string | undefined): Kept | undefined {
  return text === undefined ? undefined : read(text)
}

type PlaceRow = readonly [
  target: string,
  priority: Place['priority'],
  dueAt: number,
  acceptedAt: number,
  expiresAt: number | null
]

function placeRow({ target, priority, dueAt, acceptedAt }: Place, expiresAt: number): PlaceRow {
  return [target, priority, dueAt, acceptedAt, expiresAt === Infinity ? null : expiresAt]
}

function placed(text: string | undefined): { place: Place; expiresAt: number } | undefined {
  if (text === undefined) return undefined
  const [target, priority, dueAt, acceptedAt, expiresAt] = JSON.parse(text) as PlaceRow
  return { place: { target, priority, dueAt, acceptedAt }, expiresAt: expiresAt ?? Infinity }
}

/** What lmdb-js tells of a failed commit comes as a promise of its own, which must not be left alone. */
async function durable(commit: Promise<unknown>): Promise<void> {
  try {
    await commit
  } catch (cause) {
    if (cause instanceof StoreUnavailable) throw cause
    ;(cause as { commitError?: Promise<never> }).commitError?.catch(() => {})
    throw new StoreUnavailable('the queue directory cannot be written', { cause })
  }
}

/** Parts of a batch fail with the batch, which is waited for. */
function quiet(part: Promise<boolean>): void {
  part.catch(() => {})
}
