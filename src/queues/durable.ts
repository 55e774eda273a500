import { getHeapStatistics } from 'node:v8'
import type { Place, StoreUnavailable } from './contract.js'
import type { Disk, TableRow } from './disk.js'
import { Layer } from './layer.js'
import { sortedSlices } from './merge.js'
import { alive, endIn, type Kept, textOf } from './record.js'
import { keptIn, SharedValues, type Staged } from './staged.js'

export interface DurableOptions {
  /** After so many changed records the tables are brought up to date. Default 100,000, less where memory is short. */
  readonly checkpointRecords?: number | undefined
  /** The last number that was given: it is remembered with each checkpoint. */
  lastNumber(): number
}

/**
 * What is durable: tables, and over them what was journalled since. It goes into the tables by a checkpoint now and then,
 * beside everything else.
 */
export interface Durable {
  /** A record as it was journalled last; undefined where there is none. */
  kept(id: string): Kept | undefined
  /** What was journalled last, where all of the record is a text that the tables lack. */
  text(id: string): string | undefined
  /** Its place in the queue; null or undefined where it has none. */
  place(id: string): Place | null | undefined
  /** Whether the tables lack something of it. */
  isAhead(id: string): boolean
  /** What the tables lack, newest first. */
  layers(): readonly Layer[]
  /** So many records are about to be read, and some of them changed next, which looks at them again. */
  expect(count: number): void
  /** Journals a text with all that these rows say. Rejects with `StoreUnavailable`; nothing of it is durable then. */
  append(text: string, rows: Iterable<Staged>): Promise<void>
  /** What a text of such a length had, in the journal as it was opened. */
  recovered(rows: readonly Staged[], length: number): void
  /** Begins a checkpoint if there is enough for one. */
  checkpointIfFull(): void
  /** Tables that could not be written are tried at once. */
  retry(): void
  /** Why the tables cannot be written, if they cannot; and whether so much is journalled that nothing more is taken. */
  problem(): { readonly message: string; readonly isFull: boolean } | undefined
  /** No checkpoint rests any more. Resolves once none is under way. */
  hurry(): Promise<void>
  /** None begins any more. */
  stop(): void
}

/** What the tables lack is in memory, and read again at the next start: where there is little of that, less of it. */
const checkpointBytes = Math.min(32_000_000, getHeapStatistics().heap_size_limit / 32)
const recordsPerCheckpoint = Math.min(100_000, checkpointBytes / 320)
const mostJournalBytes = 4 * checkpointBytes
/**
 * A checkpoint is spread over such a share of the time that it took to fill the journal, and over so many milliseconds at
 * most, with rests of at most so many: in one go it would have everybody wait again and again while very much is owed.
 */
const checkpointShare = 0.7
const longestCheckpointMs = 6_000
const longestRestMs = 100
/** Each write to the tables ends in an fsync. The more rows, the more of them are neighbours, whose page is written once. */
const rowsPerWrite = 1_000
const bytesPerWrite = 1_000_000
/** After a failure the tables are left alone for so long. */
const restMs = 10_000
const recentAtRest = 500
const nothing = Symbol('nothing')

export function openDurable(disk: Disk, options: DurableOptions): Durable {
  const { checkpointRecords = recordsPerCheckpoint, lastNumber } = options
  let journalled = new Layer()
  /** On its way into the tables. */
  let leaving: Layer | undefined
  let journalBytes = 0
  /** What was read of late, also that there was nothing; none of it has been journalled anew since. */
  let recent = new Map<string, Kept | typeof nothing>()
  let mostRecent = recentAtRest
  let isAppending = false
  let checkpointing: Promise<void> | undefined
  let checkpointedAt = performance.now()
  /** The tables could not be written. The journal goes on without them for a while. */
  let stuck: { readonly message: string; readonly until: number } | undefined
  let isHurried = false
  let stopped = false

  /** Brings the tables up to date with the journal, in slices between which everything else goes on. */
  async function checkpoint(): Promise<void> {
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
      for await (const slice of sortedSlices(rows, rowsPerWrite)) {
        await apply(slice, rows, now)
        done += slice.length
        const early = Math.min(began + (paceMs * done) / rows.size - performance.now(), longestRestMs)
        if (early > 1 && done < rows.size && !isHurried) await new Promise(resolve => setTimeout(resolve, early))
      }
      await disk.settled(lastNumber())
      await disk.journal.forget(upTo)
      stuck = undefined
      recent = new Map()
      leaving = undefined
      rows.clear()
    } catch (error) {
      stuck = { message: (error as StoreUnavailable).message, until: Date.now() + restMs }
      for (const id of journalled.keys()) rows.set(id, journalled.get(id)!)
      journalled.clear()
      journalled = rows
      leaving = undefined
      journalBytes += bytes
    }
    checkpointing = undefined
    checkpointIfFull()
  }

  /** Rows of a megabyte go into the tables one at a time: each write keeps all that it has in memory. */
  async function apply(ids: readonly string[], rows: Layer, now: number): Promise<void> {
    let writing: TableRow[] = []
    let bytes = 0
    for (const id of ids) {
      const row = tableRow(id, rows, now)
      writing.push(row)
      bytes += row.text?.length ?? 0
      if (bytes < bytesPerWrite) continue
      await disk.apply(writing)
      writing = []
      bytes = 0
    }
    if (writing.length > 0) await disk.apply(writing)
  }

  function checkpointIfFull(): void {
    // What is being appended is not yet among what is journalled, so its file must outlive a checkpoint that begins now:
    // the one that begins behind it forgets that file.
    if (isAppending) return
    const isFull = journalled.size >= checkpointRecords || journalBytes >= checkpointBytes
    if (isFull && !stopped && !(stuck && Date.now() < stuck.until)) checkpointing ??= checkpoint()
  }

  function take(rows: Iterable<Staged>, length: number): void {
    journalBytes += length
    for (const { id, row } of rows) {
      journalled.set(id, row)
      recent.delete(id)
    }
  }

  return {
    kept(id) {
      const seen = recent.get(id)
      if (seen !== undefined) return seen === nothing ? undefined : seen
      const row = journalled.get(id) ?? leaving?.get(id)
      const kept = row ? keptIn(row) : disk.read(id)
      if (recent.size >= mostRecent) recent = new Map()
      recent.set(id, kept ?? nothing)
      return kept
    },

    text(id) {
      const row = journalled.get(id) ?? leaving?.get(id)
      return typeof row === 'string' ? row : undefined
    },

    place(id) {
      let place = journalled.place(id)
      if (place === undefined) place = leaving?.place(id)
      return place === undefined ? disk.place(id) : place
    },

    isAhead: id => journalled.has(id) || leaving?.has(id) === true,
    layers: () => (leaving ? [journalled, leaving] : [journalled]),

    expect(count) {
      if (recent.size > recentAtRest) recent = new Map()
      mostRecent = recentAtRest + count
    },

    async append(text, rows) {
      isAppending = true
      try {
        await disk.journal.append(text)
      } finally {
        isAppending = false
      }
      // At once: a checkpoint that began in between would forget the file without having the rows.
      take(rows, text.length)
      checkpointIfFull()
    },

    recovered(rows, length) {
      const values = new SharedValues()
      for (const row of rows) row.pack(values)
      take(rows, length)
    },
    checkpointIfFull,

    retry() {
      stuck = undefined
      checkpointIfFull()
    },

    problem: () => stuck && { message: stuck.message, isFull: journalBytes > mostJournalBytes },

    async hurry() {
      isHurried = true
      while (checkpointing) await checkpointing
    },

    stop() {
      stopped = true
    }
  }
}

/** What the tables get. A record whose time is over goes, and its place with it. */
function tableRow(id: string, rows: Layer, now: number): TableRow {
  const row = rows.bytes(id)
  if (Buffer.isBuffer(row))
    return endIn(row) > now ? { id, text: row, place: undefined } : { id, text: undefined, place: null }
  const left = alive(row.kept, now)
  return left ? { id, text: textOf(left), place: row.place } : { id, text: undefined, place: null }
}
