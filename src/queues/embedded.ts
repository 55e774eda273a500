import { getHeapStatistics } from 'node:v8'
import { mapped } from '../mapped.js'
import { type Change, oneField, type Place, type Store, StoreUnavailable } from './contract.js'
import { keyOf, openDisk, type TableRow } from './disk.js'
import { dueIndex } from './due.js'
import { Layer } from './layer.js'
import { localHold } from './memory.js'
import { merged, sortedSlices } from './merge.js'
import { alive, changed, counter, endIn, isVain, type Kept, textOf } from './record.js'
import { keptIn, type Row, SharedValues, Staged } from './staged.js'

export interface EmbeddedOptions {
  readonly dir: string
  /** How long a note may wait for company before it is journalled, in milliseconds. Default 50. */
  readonly noteDelayMs?: number
  /** After so many changed records the tables are brought up to date. Default 100,000, less where memory is short. */
  readonly checkpointRecords?: number
  /** How often expired records are looked for, in milliseconds. Default 1 s. */
  readonly sweepMs?: number
}

/** Changes that are made all or none, and who waits for them to be durable; nobody: they are notes. */
interface Group {
  readonly at: number
  readonly rows: Staged[]
  readonly waiting: Waiter[]
}

interface Waiter {
  resolve(): void
  reject(error: unknown): void
}

const journalBytesPerWrite = 250_000
/** So many rows become text before others get the event loop. */
const rowsAtATime = 2_000
/** From the start of one write to that of the next, if several waited for the last and fewer changes than these wait now. */
const gapMs = 4
const rowsAtOnce = 200
/** Who waits joins a group that has fewer rows than these. */
const rowsPerGroup = 100
/** So many of those who waited for a write go on before others get the event loop. */
const resolvedAtOnce = 64
/** What the tables lack is in memory, and read again at the next start: where there is little of that, less of it. */
const checkpointBytes = Math.min(32_000_000, getHeapStatistics().heap_size_limit / 32)
const recordsPerCheckpoint = Math.min(100_000, checkpointBytes / 320)
/**
 * A checkpoint is spread over such a share of the time that it took to fill the journal, and over so many milliseconds at
 * most, with rests of at most so many: in one go it would have everybody wait again and again while very much is owed.
 */
const checkpointShare = 0.7
const longestCheckpointMs = 6_000
const longestRestMs = 100
/** What the tables do not have is held in memory, and read at the next start. */
const mostJournalBytes = 4 * checkpointBytes
/** Each write to the tables ends in an fsync. The more rows, the more of them are neighbours, whose page is written once. */
const rowsPerWrite = 1_000
const bytesPerWrite = 1_000_000
const recentAtRest = 500
const maxUnwritten = 20_000
const nothing = Symbol('nothing')
/** A page of a list ends after so long, however little is on it. */
const listMs = 20
/** After a failure notes wait so long, and writes are refused without a try: a full disk shall not cost more than that. */
const retryMs = 1_000

/**
 * The store of one process, on LMDB in a directory of its own. Changes take effect in memory at once and are journalled
 * in groups, which makes them durable; the tables are brought up to date by a checkpoint now and then. A read looks
 * into what is not journalled yet, then into what is not in the tables yet, then into the tables. Values must be JSON.
 */
export async function embeddedStore(options: EmbeddedOptions): Promise<Store> {
  const { dir, noteDelayMs = 50, checkpointRecords = recordsPerCheckpoint, sweepMs = 1_000 } = options
  const disk = await openDisk(dir)
  const index = dueIndex()

  /** Records by how far they have come: not durable yet; in the journal; from there on their way into the tables. */
  let fresh = new Map<string, Staged>()
  let journalled = new Layer()
  let leaving: Layer | undefined
  /** What was read of late of what is journalled, also that there was nothing; none of it has been changed since. */
  let recent = new Map<string, Kept | typeof nothing>()
  let mostRecent = recentAtRest

  let groups: Group[] = []
  /** The last group while it is not being journalled: what is of its sort joins it, and one record has one row there. */
  let open: Group | undefined
  /** What the tables do not have yet. */
  let journalBytes = 0
  let running: Promise<void> | undefined
  let writtenAt = -Infinity
  /** Whether several waited for the last write. */
  let isBusy = false
  let isAppending = false
  let checkpointing: Promise<void> | undefined
  /** The tables could not be written. The journal goes on without them for a while. */
  let stuck: { readonly message: string; readonly until: number } | undefined
  let timer: NodeJS.Timeout | undefined
  let failure: { readonly message: string; readonly at: number } | undefined
  let lost = 0
  let closing = false
  let closed = false
  let checkpointedAt = performance.now()
  let swept: string | undefined

  const older = (id: string): Row | undefined => journalled.get(id) ?? leaving?.get(id)

  const lookup = (id: string): Kept | undefined => {
    const seen = recent.get(id)
    return seen ? keptOf(seen) : lookFor(id, fresh.get(id))
  }

  /** The same for what was not read of late; `staged`: what has not been journalled yet. */
  const lookFor = (id: string, staged: Staged | undefined): Kept | undefined => {
    if (staged) return staged.kept
    const row = older(id)
    const kept = row ? keptIn(row) : disk.read(id)
    if (recent.size >= mostRecent) recent = new Map()
    recent.set(id, kept ?? nothing)
    return kept
  }

  /** Makes a change visible. It is durable once its group has been journalled. */
  const stage = (group: Group, change: Change) => {
    const id = keyOf(change.id)
    const seen = recent.get(id)
    const row = seen ? undefined : fresh.get(id)
    if (row?.group === group && row.takes(change) && !movesEnd(id, change)) return row.add(change)
    // Who replaces all of a record says nothing of it: most are new, and to look for those costs more than to write them.
    const before = isWhole(change) ? undefined : seen ? keptOf(seen) : lookFor(id, row)
    if (isVain(change, before, group.at)) return
    const kept = changed(before, change, group.at)
    const expired = before !== undefined && !alive(before, group.at)
    // What was no record has no place: to look there for each new one costs more than the rest of this.
    const current = before && index.get(id)
    const staged = new Staged(id, group, change, kept, placeAfter(change, kept, { expired, current }))
    fresh.set(id, staged)
    recent.delete(id)
    group.rows.push(staged)
    if (staged.place !== undefined) index.set(id, staged.place, kept?.expiresAt)
  }

  /** Whether the end changes of a record that has a place, which is written beside that. */
  const movesEnd = (id: string, { expiresAt }: Change) => expiresAt !== undefined && index.get(id) !== undefined

  const begin = (at: number): Group => {
    const group: Group = { at, rows: [], waiting: [] }
    groups.push(group)
    return group
  }

  /** Notes join those before them, and so does who waits: all who do are told if their group cannot be journalled. */
  const stageAll = (changes: readonly Change[], waiter?: Waiter) => {
    const joins = open && isNotes(open) === !waiter && (!waiter || open.rows.length < rowsPerGroup)
    const group = joins ? open! : begin(Date.now())
    if (waiter) group.waiting.push(waiter)
    for (const change of changes) stage(group, change)
    open = group
  }

  /** What was made before, as it was then. */
  const restage = (changes: readonly Change[], at: number) => {
    open = undefined
    const group = begin(at)
    for (const change of changes) stage(group, change)
  }

  const flush = (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    running ??= run()
    return running
  }

  /** Journals what waits, in order, until nobody waits for it any more. What comes within a gap is written together. */
  const run = async () => {
    do {
      await company()
      await journal()
    } while (groups.some(group => group.waiting.length > 0))
    running = undefined
    if (groups.length > 0) flushLater(failure ? retryMs : noteDelayMs)
  }

  /** Where many write at once, a write that waits for more of them spares the disk more than it costs them. */
  const company = async () => {
    await new Promise(setImmediate)
    const early = writtenAt + gapMs - performance.now()
    const changes = groups.reduce((sum, { rows }) => sum + rows.length, 0)
    if (early > 0 && isBusy && changes < rowsAtOnce) await new Promise(resolve => setTimeout(resolve, early))
    writtenAt = performance.now()
  }

  const flushLater = (delayMs: number) => {
    if (!running && !closed) timer ??= setTimeout(flush, delayMs).unref()
  }

  const journal = async () => {
    const pieces: string[] = []
    const values = new SharedValues()
    let bytes = 0
    let count = 0
    // Nothing is added to these any more; others may come meanwhile.
    open = undefined
    const most = groups.length
    while (count < most && bytes + values.length < journalBytesPerWrite) {
      const { at, rows } = groups[count]!
      const from = pieces.length
      pieces.push(count++ === 0 ? '' : ',', `{"at":${at},"changes":[`)
      for (let index = 0; index < rows.length; index++) {
        if (index > 0) pieces.push(',')
        rows[index]!.write(pieces, values)
        if ((index + 1) % rowsAtATime === 0) await new Promise(setImmediate)
      }
      pieces.push(']}')
      for (let index = from; index < pieces.length; index++) bytes += pieces[index]!.length
    }
    if (count === 0) return
    const batch = groups.splice(0, count)
    const text = `{"next":${numbers.last()},"values":${values.json},"groups":[${pieces.join('')}]}`
    isAppending = true
    try {
      await disk.journal.append(text)
    } catch (error) {
      return putBack(batch, error as StoreUnavailable)
    } finally {
      isAppending = false
    }
    // If there is room again here, there is for the tables: they are tried anew.
    if (failure) stuck = failure = undefined
    journalBytes += text.length
    settle(batch)
    checkpointIfFull()
  }

  const settle = (batch: readonly Group[]) => {
    // A map that is emptied one by one leaves old tables behind, and what was in them with those: a new one is cheaper.
    const isShort = batch.length < groups.length
    for (const { rows } of batch) {
      for (const row of rows) {
        const { id } = row
        journalled.set(id, row.row)
        if (isShort && fresh.get(id) === row) fresh.delete(id)
      }
    }
    if (!isShort) fresh = freshOf(groups)
    const waiting = batch.flatMap(group => group.waiting)
    isBusy = waiting.length > 1
    resolveInTurns(waiting)
  }

  const resolveInTurns = (waiting: Waiter[]) => {
    for (const { resolve } of waiting.splice(0, resolvedAtOnce)) resolve()
    if (waiting.length > 0) setImmediate(resolveInTurns, waiting)
  }

  /** After a failed write: whoever waits is told and their changes are taken back; notes are kept for another try. */
  const putBack = (batch: readonly Group[], error: StoreUnavailable) => {
    failure = { message: error.message, at: Date.now() }
    groups = [...batch, ...groups]
    const kept = groups.filter(isNotes)
    let unwritten = kept.reduce((sum, { rows }) => sum + rows.length, 0)
    if (kept.length === groups.length && unwritten <= maxUnwritten) return
    const failed = groups.flatMap(({ waiting }) => waiting)
    while (unwritten > maxUnwritten) {
      const { rows } = kept.shift()!
      unwritten -= rows.length
      lost += rows.length
    }
    const ids = new Set(groups.flatMap(group => group.rows.map(row => row.id)))
    groups = []
    fresh = new Map()
    for (const id of ids) index.set(id, durablePlace(id) ?? null, lookup(id)?.expiresAt)
    for (const { rows, at } of kept) {
      const changes = rows.map(({ change }) => change)
      restage(changes, at)
    }
    for (const { reject } of failed) reject(error)
  }

  const durablePlace = (id: string): Place | null | undefined => {
    const place = journalled.place(id) !== undefined ? journalled.place(id) : leaving?.place(id)
    return place === undefined ? disk.place(id) : place
  }

  /** Brings the tables up to date with the journal, in slices between which everything else goes on. */
  const checkpoint = async (): Promise<void> => {
    const rows = journalled
    const upTo = disk.journal.turn()
    const now = Date.now()
    const bytes = journalBytes
    const began = performance.now()
    const paceMs = Math.min((began - checkpointedAt) * checkpointShare, longestCheckpointMs)
    checkpointedAt = began
    let done = 0
    leaving = rows
    journalled = new Layer()
    journalBytes = 0
    try {
      for await (const slice of sortedSlices(rows, rowsPerWrite, bytesPerWrite)) {
        await disk.apply(slice.map(id => tableRow(id, rows, now)))
        done += slice.length
        const early = Math.min(began + (paceMs * done) / rows.size - performance.now(), longestRestMs)
        if (early > 1 && done < rows.size && !closing) await new Promise(resolve => setTimeout(resolve, early))
      }
      await disk.settled(numbers.last())
      await disk.journal.forget(upTo)
      stuck = undefined
      recent = new Map()
    } catch (error) {
      stuck = { message: (error as StoreUnavailable).message, until: Date.now() + 10 * retryMs }
      for (const id of journalled.keys()) rows.set(id, journalled.get(id)!)
      journalled.clear()
      journalled = rows
      journalBytes += bytes
    }
    leaving = undefined
    if (journalled !== rows) rows.clear()
    checkpointing = undefined
    checkpointIfFull()
  }

  const checkpointIfFull = () => {
    // What is being appended is not yet among what is journalled, so its file must outlive a checkpoint that begins now:
    // the one that begins behind it forgets that file.
    if (isAppending) return
    const full = journalled.size >= checkpointRecords || journalBytes >= checkpointBytes
    if (full && !closed && !(stuck && Date.now() < stuck.until)) checkpointing ??= checkpoint()
  }

  /** Looks at some records in turn, for at most 5 ms, and drops those whose time is over; all of them within an hour. */
  const sweep = () => {
    const now = Date.now()
    const until = performance.now() + 5
    const drops: Change[] = index.ended(now, 500).map(id => ({ id, drop: true }))
    let left = Math.max(1_000, (disk.size() * sweepMs) / 3_600_000)
    let last: string | undefined
    for (const { id, expiresAt } of disk.ends(swept)) {
      if (expiresAt <= now && !(fresh.get(id) ?? older(id))) drops.push({ id, drop: true })
      last = id
      if (--left <= 0 || performance.now() > until) break
      last = undefined
    }
    swept = last
    if (drops.length > 0) note(drops)
  }

  const note = (changes: readonly Change[]) => {
    if (closed || changes.length === 0) return
    stageAll(changes)
    flushLater(noteDelayMs)
  }

  const mark = (id: string, field: string, value: unknown, expiresAt: number) => {
    const row = fresh.get(keyOf(id))
    if (row?.exists && row.group === open && isNotes(open)) row.mark(field, value, expiresAt)
    else note([{ id, set: oneField(field, value), expiresAt }])
  }

  const write = async (changes: readonly Change[]): Promise<void> => {
    if (closed) throw new StoreUnavailable('the queue is closed')
    if (changes.length === 0) return
    const now = Date.now()
    if (failure && now - failure.at < retryMs) throw new StoreUnavailable(failure.message)
    if (stuck && journalBytes > mostJournalBytes) {
      checkpointIfFull()
      throw new StoreUnavailable(stuck.message)
    }
    const { promise, resolve, reject } = withResolvers()
    stageAll(changes, { resolve, reject })
    void flush()
    return promise
  }

  /** The index, without what has expired. */
  const places = () => {
    if (index.size() === 0) return index
    note(index.ended(Date.now(), 1_000).map(id => ({ id, drop: true })))
    return index
  }

  for (const { id, place, expiresAt } of disk.places()) index.set(id, place, expiresAt)
  let last = disk.lastNumber()
  for (const text of disk.journal.texts()) {
    const entry = JSON.parse(text) as JournalEntry
    for (const { at, changes } of entry.groups) {
      const made = changes.map(change => asMade(change, entry.values))
      restage(made, at)
    }
    journalBytes += text.length
    last = Math.max(last, entry.next)
  }
  settle(groups)
  groups = []
  const numbers = counter(last)
  const sweeper = setInterval(sweep, sweepMs).unref()
  // The one before may have been closed before it came to that, and who writes nothing more would never come to it.
  checkpointIfFull()

  return {
    backend: 'embedded',
    durable: true,
    shared: false,
    interruptedAt: disk.interruptedAt,
    read(ids) {
      const now = Date.now()
      // Who reads many at once changes them next, as a rule, which looks at them again.
      if (recent.size > recentAtRest) recent = new Map()
      mostRecent = recentAtRest + ids.length
      return mapped(ids, id => alive(lookup(keyOf(id)), now)?.fields)
    },
    write,
    note,
    mark,
    hold: localHold,
    release: () => {},
    next: numbers.next,
    due: (target, priority, now, limit) => places().due(target, priority, now, limit),
    earliest: () => places().earliest(),
    async hasten(target, dueAt) {
      const ids = places().hasten(target, dueAt)
      for (let start = 0; start < ids.length; start += rowsPerWrite) {
        const moved = ids.slice(start, start + rowsPerWrite).map(id => ({ id, place: index.get(id) }))
        await write(moved.filter(({ place }) => place?.target === target))
      }
    },
    owed: target => places().owed(target),
    depths: () => places().depths(),
    weakest: (target, limit) => places().weakest(target, limit),
    async list(prefix, after, limit) {
      // Who reads page after page lets others go on in between.
      await new Promise(setImmediate)
      const now = Date.now()
      const found: { id: string; fields: Kept['fields'] }[] = []
      const layers = [fresh, journalled, ...(leaving ? [leaving] : [])]
      const until = performance.now() + listMs
      for (const { id, kept } of merged(layers, disk.range(prefix, after), { prefix, after })) {
        if (found.length >= limit || (found.length > 0 && performance.now() > until)) break
        const { fields } = alive(kept, now) ?? {}
        if (fields) found.push({ id, fields })
      }
      return found
    },
    status: () => ({
      backend: 'embedded',
      available: failure === undefined,
      warnings: [
        ...new Set([failure, stuck].flatMap(problem => problem?.message ?? [])),
        ...(lost > 0 ? [`${lost} outcomes were lost while the queue directory could not be written`] : [])
      ],
      unwritten: failure ? groups.reduce((sum, group) => sum + group.rows.length, 0) : 0
    }),
    async close() {
      if (closed) return
      clearInterval(sweeper)
      closing = true
      // Whoever opens it next shall not have much to read: a checkpoint that is due is waited for, too.
      do {
        await flush()
        await checkpointing
      } while (running || checkpointing || (groups.length > 0 && !failure))
      closed = true
      await disk.close()
    }
  }
}

const keptOf = (seen: Kept | typeof nothing): Kept | undefined => (seen === nothing ? undefined : seen)

const isNotes = ({ waiting }: Group): boolean => waiting.length === 0

/** Whether nothing of what a record was stays. */
const isWhole = ({ anew, replace, expiresAt, place }: Change): boolean =>
  anew === true || (replace === true && expiresAt !== undefined && place !== undefined)

/** Undefined: the place stays as it is on disk. A new end is written beside the place, so it counts as a change. */
function placeAfter(
  change: Change,
  kept: Kept | undefined,
  { expired, current }: { expired: boolean; current: Place | undefined }
): Place | null | undefined {
  if (!kept) return null
  if (change.place !== undefined) return change.place
  if (expired) return null
  return change.expiresAt === undefined ? undefined : current
}

/** The last row of every record among those that are not journalled. */
function freshOf(groups: readonly Group[]): Map<string, Staged> {
  const fresh = new Map<string, Staged>()
  for (const { rows } of groups) for (const row of rows) fresh.set(row.id, row)
  return fresh
}

/** What the tables get. A record whose time is over goes, and its place with it. */
function tableRow(id: string, rows: Layer, now: number): TableRow {
  const bytes = rows.bytes(id)
  if (bytes) return endIn(bytes) > now ? { id, text: bytes, place: undefined } : { id, text: undefined, place: null }
  const { kept, place } = rows.get(id) as Exclude<Row, string>
  const left = alive(kept, now)
  return left ? { id, text: textOf(left), place } : { id, text: undefined, place: null }
}

/** One write: the last number that was given, and the groups with the values that their changes share. */
interface JournalEntry {
  readonly next: number
  /** Not there in what an older version wrote. */
  readonly values?: readonly unknown[]
  readonly groups: readonly { readonly at: number; readonly changes: readonly JournalChange[] }[]
}

interface JournalChange extends Change {
  /** More of what it sets: the numbers of shared values. */
  readonly same?: Readonly<Record<string, number>>
}

/** A change as it was before it was journalled. JSON has no Infinity: it comes back as null. */
function asMade({ same, ...change }: JournalChange, values: readonly unknown[] = []): Change {
  const shared = Object.entries(same ?? {}).map(([name, number]) => [name, values[number]])
  const set = same ? { ...change.set, ...Object.fromEntries(shared) } : change.set
  return { ...change, set, ...(change.expiresAt === null ? { expiresAt: Infinity } : {}) }
}

function withResolvers() {
  let resolve!: () => void
  let reject!: (error: unknown) => void
  const promise = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
