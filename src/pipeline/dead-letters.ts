import { type Change, everyRecord, oneField, type Store } from '../queues/contract.js'
import { type States, statesIn, writeWith } from './books.js'
import { alertId, type DeadLetter, deadId, type Entry, ledgerId, outcomeField, outcomeId, stored } from './entry.js'
import { isEnd, roundOf } from './ledger.js'
import { afterOwing } from './lifecycle.js'

export interface LetterFilter {
  readonly target?: string | undefined
  readonly error_reason?: string | undefined
}

export interface ReplayOptions {
  /** Leaves out firings that have resolved since, and letters that have nothing else. */
  readonly skipResolved: boolean
  /** Counts only. */
  readonly dryRun: boolean
  /** Between two letters of a target, in milliseconds: a replay is no storm. */
  readonly spacingMs: number
}

export interface Replay {
  readonly matched: number
  readonly replayed: number
  readonly skipped_resolved: number
}

/** Dead letters: what was given up, and can be sent after all. */
export interface DeadLetters {
  get(id: string): Promise<DeadLetter | undefined>
  /** Newest ids last; `after` is the last id of the page before. Fewer than `limit` where they are large. */
  list(
    filter: LetterFilter,
    after: string | undefined,
    limit: number
  ): Promise<{ letters: DeadLetter[]; more: boolean }>
  /** Puts letters back into the queue, where the rules of order hold for them as for all others. */
  replay(letters: readonly DeadLetter[], options: ReplayOptions): Promise<Replay>
  replayAll(filter: LetterFilter, options: ReplayOptions): Promise<Replay>
  /** False if it is gone by now. */
  purge(letter: DeadLetter): Promise<boolean>
  /** Purges what was buried before; returns how many. */
  purgeBefore(time: number): Promise<number>
}

export interface DeadLetterEvents {
  replayed(target: string, result: 'queued' | 'skipped_resolved'): void
  removed(target: string): void
}

/** A page for readers ends with the letter that makes it so long, as JSON. */
const pageLength = 4_000_000
const judgedBy = ['id', 'target', 'failure', 'buried_at'] as const

export interface DeadLettersDeps {
  readonly store: Store
  readonly events: DeadLetterEvents
  readonly retentionMs: number
  now(): number
}

export function createDeadLetters(deps: DeadLettersDeps): DeadLetters {
  const { store, events, now } = deps
  const statesOf = statesIn(deps)

  /** Those that match, of which all but what they are judged by may be missing. */
  async function* every(
    filter: LetterFilter,
    from?: string
  ): AsyncGenerator<Pick<DeadLetter, (typeof judgedBy)[number]>> {
    const after = from === undefined ? undefined : deadId(from)
    for await (const fields of everyRecord(store, deadId(''), judgedBy, after)) {
      const letter = fields as unknown as DeadLetter
      if (matches(letter, filter)) yield letter
    }
  }

  async function* everyWhole(filter: LetterFilter, from?: string): AsyncGenerator<DeadLetter> {
    for await (const { id } of every(filter, from)) {
      const letter = await get(id)
      if (letter) yield letter
    }
  }

  async function get(id: string): Promise<DeadLetter | undefined> {
    const [record] = await store.read([deadId(id)])
    return record as unknown as DeadLetter | undefined
  }

  /** Makes changes that take a letter away, if it is still there: others may be at it as well. */
  async function take(
    { id, target }: Pick<DeadLetter, 'id' | 'target'>,
    changes: readonly Change[] = [],
    states: States = () => []
  ): Promise<boolean> {
    const hold = await store.hold([deadId(id)])
    if (!hold) return false
    try {
      const records = store.read([deadId(id)], [['id']])
      const [record] = records instanceof Promise ? await records : records
      if (!record) return false
      await writeWith(store, [{ id: deadId(id), drop: true }, ...changes], states)
    } finally {
      store.release(hold)
    }
    events.removed(target)
    return true
  }

  async function replay(
    letters: Iterable<DeadLetter> | AsyncIterable<DeadLetter>,
    options: ReplayOptions
  ): Promise<Replay> {
    let matched = 0
    let replayed = 0
    let skippedResolved = 0
    const nextAt = new Map<string, number>()
    for await (const letter of letters) {
      matched++
      const alerts = options.skipResolved ? await unresolved(letter) : letter.alerts
      if (alerts.length === 0) {
        skippedResolved++
        if (!options.dryRun) events.replayed(letter.target, 'skipped_resolved')
        continue
      }
      if (options.dryRun) {
        replayed++
        continue
      }
      const dueAt = Math.max(now(), nextAt.get(letter.target) ?? 0)
      const ledgers = await store.read(letter.refs.map(ref => ledgerId(ref.key)))
      const current = letter.refs.filter(({ key, round }, index) => roundOf(ledgers[index], key)?.round === round)
      const whole = alerts.length === letter.alerts.length
      const sent = whole
        ? { ...letter, refs: current }
        : { ...letter, refs: current, alerts, body: undefined, content: undefined }
      const states = () =>
        statesOf([sent], (before, item) => (before && before.seq > item.seq ? undefined : afterOwing(before, item)))
      if (!(await take(letter, back(sent, dueAt, now()), states))) continue
      replayed++
      nextAt.set(letter.target, dueAt + options.spacingMs)
      events.replayed(letter.target, 'queued')
    }
    return { matched, replayed, skipped_resolved: skippedResolved }
  }

  /** What the letter carries, without the firings that have ended since. */
  async function unresolved({ alerts }: DeadLetter): Promise<DeadLetter['alerts']> {
    const records = await store.read(alerts.map(({ alert }) => alertId(alert.fingerprint)))
    // Of what fires something is known for as long as letters are kept; of what has ended, for a day.
    const hasEnded = (index: number): boolean => typeof records[index]?.k !== 'string' || isEnd(records[index].k)
    return alerts.filter(({ alert }, index) => alert.status === 'resolved' || !hasEnded(index))
  }

  return {
    replay,
    get,
    purge: letter => take(letter),
    replayAll: (filter, options) => replay(everyWhole(filter), options),
    async list(filter, after, limit) {
      const letters: DeadLetter[] = []
      let length = 0
      for await (const letter of everyWhole(filter, after)) {
        if (letters.length === limit || length > pageLength) return { letters, more: true }
        letters.push(letter)
        length += JSON.stringify(letter).length
      }
      return { letters, more: false }
    },
    async purgeBefore(time) {
      let purged = 0
      for await (const letter of every({})) {
        if (letter.buried_at < time && (await take(letter))) purged++
      }
      return purged
    }
  }
}

function matches(letter: Pick<DeadLetter, 'target' | 'failure'>, { target, error_reason }: LetterFilter): boolean {
  return (
    (target === undefined || letter.target === target) &&
    (error_reason === undefined || letter.failure.reason === error_reason)
  )
}

/** The changes that make a dead letter an entry again. It is tried as long as a new one, but tells its readers how late it is. */
function back(letter: DeadLetter, dueAt: number, now: number): Change[] {
  const { buried_at: _, failure: __, ...rest } = letter
  const entry: Entry = { ...rest, due_at: dueAt, replayed_at: now, tries: 0 }
  return [
    ...stored(entry),
    ...entry.refs.map(ref => ({
      id: outcomeId(ref, entry.part),
      set: oneField(outcomeField(entry.target, ref), ['q', entry.id])
    }))
  ]
}
