import { mapped } from '../mapped.js'
import { type Change, oneField, type Place, type Store, StoreUnavailable } from './contract.js'
import { keyOf, openDisk } from './disk.js'
import { dueIndex } from './due.js'
import { openDurable } from './durable.js'
import { localHold } from './memory.js'
import { merged } from './merge.js'
import { alive, changed, counter, endIn, isVain, type Kept } from './record.js'
import { SharedValues, Staged } from './staged.js'

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
/** Places that are moved in one write. */
const hastenedAtOnce = 1_000
/** So many of those who waited for a write go on before others get the event loop. */
const resolvedAtOnce = 64
const maxUnwritten = 20_000
/** A record whose text is longer is read before it is marked: what was marked before may be in it twice, and must not pile up. */
const longestUnread = 4_000
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
  const { dir, noteDelayMs = 50, checkpointRecords, sweepMs = 1_000 } = options
  const disk = await openDisk(dir)
  const index = dueIndex()

  const durable = openDurable(disk, { checkpointRecords, lastNumber: () => numbers.last() })

  /** Records that have changed, as far as that is not durable yet. */
  let fresh = new Map<string, Staged>()
  let groups: Group[] = []
  /** The last group while it is not being journalled: what is of its sort joins it, and one record has one row there. */
  let open: Group | undefined
  let running: Promise<void> | undefined
  let writtenAt = -Infinity
  /** Whether several waited for the last write. */
  let isBusy = false
  let timer: NodeJS.Timeout | undefined
  let failure: { readonly message: string; readonly at: number } | undefined
  let lost = 0
  let closed = false
  let swept: string | undefined

  const lookup = (id: string): Kept | undefined => {
    const staged = fresh.get(id)
    return staged ? staged.kept : durable.kept(id)
  }

  /** Makes a change visible. It is durable once its group has been journalled. */
  const stage = (group: Group, change: Change) => {
    const id = keyOf(change.id)
    const row = fresh.get(id)
    if (row?.group === group && row.takes(change, group.at) && !movesEnd(id, change)) return row.add(change)
    // Who replaces all of a record says nothing of it: most are new, and to look for those costs more than to write them.
    const before = isWhole(change) ? undefined : row ? row.kept : durable.kept(id)
    if (isVain(change, before, group.at)) return
    const kept = changed(before, change, group.at)
    const expired = before !== undefined && !alive(before, group.at)
    // What was no record has no place: to look there for each new one costs more than the rest of this.
    const current = before && index.get(id)
    const staged = new Staged(id, group, change, kept, placeAfter(change, kept, { expired, current }))
    push(group, staged)
    if (staged.place !== undefined) index.set(id, staged.place, kept?.expiresAt)
  }

  const push = (group: Group, row: Staged) => {
    fresh.set(row.id, row)
    group.rows.push(row)
  }

  /** Whether the end changes of a record that has a place, which is written beside that. */
  const movesEnd = (id: string, { expiresAt }: Change) => expiresAt !== undefined && index.get(id) !== undefined

  const begin = (at: number): Group => {
    const group: Group = { at, rows: [], waiting: [] }
    groups.push(group)
    return group
  }

  /** Notes join those before them, and so does who waits: all who do are told if their group cannot be journalled. */
  const groupFor = (waiter?: Waiter): Group => {
    const joins = open && isNotes(open) === !waiter && (!waiter || open.rows.length < rowsPerGroup)
    return (open = joins ? open! : begin(Date.now()))
  }

  const stageAll = (changes: readonly Change[], waiter?: Waiter) => {
    const group = groupFor(waiter)
    if (waiter) group.waiting.push(waiter)
    for (const change of changes) stage(group, change)
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
    try {
      await durable.append(text, rowsOf(batch))
    } catch (error) {
      return putBack(batch, error as StoreUnavailable)
    }
    // If there is room again here, there is for the tables: they are tried anew.
    if (failure) durable.retry()
    failure = undefined
    settle(batch)
  }

  const settle = (batch: readonly Group[]) => {
    // A map that is emptied one by one leaves old tables behind, and what was in them with those: a new one is cheaper.
    if (batch.length >= groups.length) fresh = freshOf(groups)
    else for (const row of rowsOf(batch)) if (fresh.get(row.id) === row) fresh.delete(row.id)
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
    for (const id of ids) index.set(id, durable.place(id) ?? null, lookup(id)?.expiresAt)
    for (const { rows, at } of kept) {
      const changes = rows.map(({ change }) => change)
      restage(changes, at)
    }
    for (const { reject } of failed) reject(error)
  }

  /** Looks at some records in turn, for at most 5 ms, and drops those whose time is over; all of them within an hour. */
  const sweep = () => {
    const now = Date.now()
    const until = performance.now() + 5
    const drops: Change[] = index.ended(now, 500).map(id => ({ id, drop: true }))
    let left = Math.max(1_000, (disk.size() * sweepMs) / 3_600_000)
    let last: string | undefined
    for (const { id, expiresAt } of disk.ends(swept)) {
      if (expiresAt <= now && !fresh.has(id) && !durable.isAhead(id)) drops.push({ id, drop: true })
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
    const key = keyOf(id)
    // A place has its record's end beside it, which moves with each mark.
    if (closed || index.get(key) !== undefined) return note([{ id, set: oneField(field, value), expiresAt }])
    const row = fresh.get(key)
    if (row && row.group === open && isNotes(open) && row.isAlive(open.at)) return row.mark(field, value, expiresAt)
    const text = row ? row.text : durable.text(key)
    if (text === undefined || text.length > longestUnread || endIn(text) <= Date.now())
      return note([{ id, set: oneField(field, value), expiresAt }])
    const group = groupFor()
    const staged = Staged.over(text, key, group)
    staged.mark(field, value, expiresAt)
    push(group, staged)
    flushLater(noteDelayMs)
  }

  const write = async (changes: readonly Change[]): Promise<void> => {
    if (closed) throw new StoreUnavailable('the queue is closed')
    if (changes.length === 0) return
    const now = Date.now()
    if (failure && now - failure.at < retryMs) throw new StoreUnavailable(failure.message)
    const problem = durable.problem()
    if (problem?.isFull) {
      durable.checkpointIfFull()
      throw new StoreUnavailable(problem.message)
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
    durable.recovered(rowsOf(groups), text.length)
    groups = []
    fresh = new Map()
    last = Math.max(last, entry.next)
  }
  const numbers = counter(last)
  const sweeper = setInterval(sweep, sweepMs).unref()
  // The one before may have been closed before it came to that, and who writes nothing more would never come to it.
  durable.checkpointIfFull()

  return {
    backend: 'embedded',
    durable: true,
    shared: false,
    interruptedAt: disk.interruptedAt,
    read(ids) {
      const now = Date.now()
      durable.expect(ids.length)
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
      for (let start = 0; start < ids.length; start += hastenedAtOnce) {
        const moved = ids.slice(start, start + hastenedAtOnce).map(id => ({ id, place: index.get(id) }))
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
      const layers = [fresh, ...durable.layers()]
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
        ...new Set([failure, durable.problem()].flatMap(problem => problem?.message ?? [])),
        ...(lost > 0 ? [`${lost} outcomes were lost while the queue directory could not be written`] : [])
      ],
      unwritten: failure ? groups.reduce((sum, group) => sum + group.rows.length, 0) : 0
    }),
    async close() {
      if (closed) return
      clearInterval(sweeper)
      // Whoever opens it next shall not have much to read: a checkpoint that is due is waited for, too.
      do {
        await flush()
        await durable.hurry()
      } while (running || (groups.length > 0 && !failure))
      closed = true
      durable.stop()
      await disk.close()
    }
  }
}

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

const rowsOf = (groups: readonly Group[]): Staged[] => groups.flatMap(({ rows }) => rows)

/** The last row of every record among those that are not journalled. */
function freshOf(groups: readonly Group[]): Map<string, Staged> {
  return new Map(rowsOf(groups).map(row => [row.id, row]))
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
