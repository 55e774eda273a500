import { mapped } from '../mapped.js'
import { type Change, type Hold, type Store, StoreUnavailable } from '../queues/contract.js'
import type { Failure, Memory } from '../targets/contract.js'
import { failure } from '../targets/failures.js'
import type { Target } from '../targets/target.js'
import type { Attempted } from './attempt.js'
import { createBooks, outcomeMs, stateMsFor, writeWith } from './books.js'
import {
  alertId,
  type DeadLetter,
  type Entry,
  entryId,
  groupId,
  letterOf,
  memoryId,
  outcomeField,
  outcomeId,
  shown,
  stateField,
  stored
} from './entry.js'
import { attemptEnd, type Job, type PartResult } from './job.js'
import {
  afterClosing,
  afterDelivery,
  afterDoubt,
  afterNothing,
  afterOwing,
  inDoubt,
  packState,
  type Sequenced,
  type Step,
  type TargetState,
  type Untold
} from './lifecycle.js'
import { deliveredOutcome, type Outcome, refusedOutcome } from './outcome.js'
import { createRoom, tooMuch } from './room.js'
import { isMany, turn } from './turn.js'

export interface OwedEvents {
  submitted(entry: Entry, result: 'queued' | 'unavailable'): void
  buried(letter: DeadLetter): void
}

export interface OwedDeps {
  readonly store: Store
  readonly events: OwedEvents
  readonly maxPerTarget: number
  readonly retentionMs: number
  now(): number
}

/** What is written down when a part ends, or does not end: the only code that changes the ledger, states and the queue. */
export interface Owed {
  /** Entries in the store whose lanes some job has: nobody else gets them, and they are not given up to make room. */
  readonly inHand: Set<string>
  /**
   * The target has it. Nobody waits until that is written, unless it takes something out of the queue. `group`: what it has
   * of the group as a whole, where one incident or message stands for that.
   */
  done(
    job: Job,
    states: readonly (TargetState | undefined)[],
    attempted: Attempted,
    durationMs: number,
    group?: TargetState
  ): PartResult | Promise<PartResult>
  /** It is owed: durable once this resolves. Without a queue that can be written the part stays unowned. */
  own(job: Job, failed: Failure | undefined, hold: Hold | undefined, dueAt?: number): Promise<PartResult>
  /** The same for parts of one target, in one write: all of them are owed or none is. */
  ownAll(
    jobs: readonly Job[],
    failed: Failure | undefined,
    hold: Hold | undefined,
    dueAt?: number
  ): Promise<PartResult[]>
  /** It is given up: a dead letter. `target`: as it was when it was tried last. */
  bury(job: Job, failed: Failure, durationMs: number, target: Target): Promise<PartResult>
  /** There was nothing to tell: `steps` says why, for each of the entry's alerts; none if another delivery told it all. */
  close(job: Job, steps: readonly Step[]): Promise<PartResult>
  /** Some of the entry's alerts are not told, and nothing older that waits for the target shall be either. */
  dismiss(entry: Entry, alerts: readonly Sequenced[]): void
  /**
   * An attempt begins at what stands in the queue: if the process dies meanwhile, it may have arrived, which counts for
   * all that waits of its alerts, in whatever slot. Durable once this resolves, and what the job took over is one with it
   * by then: after a crash nothing older is sent any more. `states`: what the target has of the entry's alerts. False if
   * that cannot be written where others use the queue as well: they would not know of it, and do the same.
   */
  begin(job: Job, states: readonly (TargetState | undefined)[]): Promise<boolean>
  /** An attempt that nobody knows of may have told the target of the entry's alerts. Noted once this resolves. */
  doubt(entry: Entry): Promise<void>
  /** What a vendor told, although the attempt failed later on. */
  remember(entry: Entry, memory: Memory): void
  /** Gives up entries of one target that nobody is working on. */
  giveUp(entries: readonly Entry[], failed: Failure): Promise<void>
}

export function createOwed({ store, events, maxPerTarget, retentionMs, now }: OwedDeps): Owed {
  const books = createBooks({ store, retentionMs, now })
  const stateMs = stateMsFor(retentionMs)
  const inHand = new Set<string>()
  const room = createRoom({ store, books, maxPerTarget, inHand, buried: events.buried, now })

  /** An empty memory forgets, so that a re-fire opens anew. */
  function remembered(entry: Entry, memory: Memory): Change {
    const id = memoryId(entry)
    if (Object.keys(memory).length === 0) return { id, drop: true }
    return { id, set: { ...memory }, replace: true, expiresAt: now() + stateMs.firing }
  }

  function statesOf(entry: Entry, stateAt: (index: number) => string): Change[] {
    const field = stateField(entry)
    const at = now()
    return mapped(entry.alerts, ({ alert }, index) => ({
      id: alertId(alert.fingerprint),
      set: { [field]: stateAt(index) },
      expiresAt: at + stateMs[alert.status]
    }))
  }

  /** What the target has by now, written whenever it suits. */
  function mark(entry: Entry, stateAt: (index: number) => string, outcome: Outcome, at: number): void {
    const field = stateField(entry)
    for (let index = 0; index < entry.alerts.length; index++) {
      const { alert } = entry.alerts[index]!
      store.mark(alertId(alert.fingerprint), field, stateAt(index), at + stateMs[alert.status])
    }
    for (const ref of entry.refs)
      store.mark(
        outcomeId(ref, entry.part),
        outcomeField(entry.target, ref),
        outcome,
        at + outcomeMs(ref, entry.alerts, stateMs)
      )
  }

  /** What may have arrived cannot be owed: that much is said of it nonetheless. */
  function noteDoubt(entries: readonly Entry[]): void {
    books.note(books.states(entries, afterDoubt))
    store.note(books.opened(entries))
  }

  async function ownAll(
    jobs: readonly Job[],
    failed: Failure | undefined,
    hold: Hold | undefined,
    dueAt = now() + (failed?.retryAfterMs ?? 0)
  ): Promise<PartResult[]> {
    const told = mapped(jobs, job => job.entry)
    const alerts = told.length === 1 ? told[0]!.alerts : told.flatMap(entry => entry.alerts)
    const attempted = attemptOf(jobs, failed)
    const next = (before: TargetState | undefined, item: Sequenced): TargetState | undefined =>
      afterOwing(attempted(before, item), item)
    const unowned = (job: Job): PartResult => ({ kind: 'unowned', ...untried(job, failed ?? outOfTime(job)) })
    const queued = (job: Job): PartResult => ({ kind: 'queued', id: job.entry.id, ...untried(job, failed) })
    if (!store.durable) {
      if (failed?.mayHave) noteDoubt(told)
      return mapped(jobs, unowned)
    }
    const why = failed && shown(failed)
    const entries = mapped(
      jobs,
      (job): Entry => ({ ...complete(job), due_at: dueAt, ...(why ? { failure: why } : {}) })
    )
    const added = entries.filter((_, index) => !jobs[index]!.stored && jobs[index]!.folded.length === 0)
    let letters: ReadonlyMap<Entry, DeadLetter>
    try {
      if (isMany(alerts)) await turn()
      letters = await room.enter(added)
      const changes: Change[] = []
      for (const [index, entry] of entries.entries()) {
        const letter = letters.get(entry)
        if (letter) {
          changes.push(...books.kept(letter))
          books.addOutcomes(changes, entry, refusedOutcome(letter))
          continue
        }
        const { folded } = jobs[index]!
        changes.push(...stored(entry))
        books.addOutcomes(changes, entry, ['q', entry.id])
        if (folded.length > 0) changes.push(...books.removed(folded.filter(other => other.id !== entry.id)))
      }
      const given = letters.size > 0 ? new Set([...letters.keys()].flatMap(entry => entry.alerts)) : undefined
      const stateAfter = (before: TargetState | undefined, item: Sequenced): TargetState | undefined =>
        given?.has(item) ? afterClosing(next(before, item), item) : next(before, item)
      // To add what is owed takes no lane: a lease that was lost meanwhile must not lose the alert.
      const states = () => books.statesInTurns(told, stateAfter)
      await writeWith(store, changes, states, hold?.valid() ? hold : undefined)
    } catch (error) {
      room.withdraw(added)
      if (!(error instanceof StoreUnavailable)) throw error
      for (const entry of entries) events.submitted(entry, 'unavailable')
      if (failed?.mayHave) noteDoubt(told)
      // What already stands in the store is owed all the same.
      return mapped(jobs, job => (job.stored ? queued(job) : unowned(job)))
    }
    for (const [index, job] of jobs.entries()) {
      const entry = entries[index]!
      job.entry = entry
      if (letters.has(entry)) continue
      job.stored = true
      events.submitted(entry, 'queued')
    }
    const pushedOut = await room.entered(added, letters)
    return mapped(jobs, job =>
      letters.has(job.entry) || pushedOut.has(job.entry)
        ? { kind: 'refused', ...untried(job, failed), failure: shown(tooMuch), id: job.entry.id }
        : queued(job)
    )
  }

  return {
    inHand,
    giveUp: room.giveUp,

    done(job, before, { memory, statusCode }, durationMs, group) {
      const { entry } = job
      const at = attemptEnd(job)
      const result: PartResult = { kind: 'delivered', attempts: entry.tries, durationMs, statusCode }
      const outcome = deliveredOutcome(entry, statusCode, durationMs)
      const stateAt = (index: number): string => packState(afterDelivery(before[index], entry.alerts[index]!))
      if (group) store.mark(groupId(entry), 's', packState(group), at + stateMs.firing)
      if (!job.stored && job.folded.length === 0 && !memory) {
        // Several targets may have answered at once.
        if (isMany(entry.alerts))
          return turn()
            .then(() => mark(entry, stateAt, outcome, at))
            .then(() => result)
        mark(entry, stateAt, outcome, at)
        return result
      }
      const changes = statesOf(entry, stateAt)
      books.addOutcomes(changes, entry, outcome)
      if (memory) changes.push(remembered(entry, memory))
      if (job.stored || job.folded.length > 0)
        return books.settle(books.removed([entry, ...job.folded]), () => changes).then(() => result)
      store.note(changes)
      return result
    },

    async own(job, failed, hold, dueAt) {
      const [result] = await ownAll([job], failed, hold, dueAt)
      return result!
    },
    ownAll,

    async bury(job, failed, durationMs, target) {
      const { entry } = job
      const letter = letterOf(complete(job), shown(failed), now())
      const { statusCode } = failed
      const more = job.stored || job.folded.length > 0 ? books.removed([entry, ...job.folded]) : []
      more.push(...books.kept(letter))
      books.addOutcomes(more, entry, refusedOutcome(letter, target.version))
      const attempted = attemptOf([job], failed)
      const closing = (before: TargetState | undefined, item: Sequenced): TargetState =>
        afterClosing(attempted(before, item), item)
      await books.settle(more, () => books.statesInTurns([entry], closing))
      events.buried(letter)
      return {
        kind: 'refused',
        failure: shown(failed),
        id: entry.id,
        attempts: entry.tries,
        durationMs,
        ...(statusCode === undefined ? {} : { statusCode })
      }
    },

    async begin(job, states) {
      const { folded } = job
      const entry: Entry = { ...complete(job), running: true }
      const isOther = ({ id }: Entry): boolean => id !== entry.id
      const changes =
        folded.length === 0
          ? [{ id: entryId(entry.id), set: { running: true }, update: true }]
          : [...stored(entry), ...books.removed(folded.filter(isOther))]
      const doubts = statesOf(entry, index => packState(afterDoubt(states[index], entry.alerts[index]!)))
      try {
        await store.write([...changes, ...doubts])
      } catch (error) {
        if (error instanceof StoreUnavailable) return !store.shared
        throw error
      }
      job.stored = true
      job.states = states
      return true
    },

    async doubt(entry) {
      store.note([...(await books.states([entry], inDoubt)), ...books.opened([entry])])
    },

    dismiss(entry, alerts) {
      books.note(books.states([{ ...entry, alerts }], afterClosing))
    },

    async close(job, steps) {
      const { entry } = job
      // What only ended stays owed: the end itself may be on its way, and is judged by that.
      const closed = entry.alerts.filter((_, index) => steps[index] !== 'outdated' && steps[index] !== 'ended')
      const first = steps.find(each => each !== 'outdated') ?? 'outdated'
      const step = first === 'ended' ? 'superseded' : (first as Untold)
      // A caller who asks again is told that nothing is owed any more.
      const more = job.stored || job.folded.length > 0 ? books.removed([entry, ...job.folded]) : []
      if (more.length > 0 && steps.length > 0) books.addOutcomes(more, entry, deliveredOutcome(entry, undefined, 0))
      const opened = books.opened([entry])
      const after = () => (closed.length === 0 ? [] : books.statesInTurns([{ ...entry, alerts: closed }], afterClosing))
      if (more.length > 0) await books.settle([...more, ...opened], after)
      else books.note([...opened, ...(await after())])
      return { kind: 'nothing', step, attempts: entry.tries, durationMs: 0 }
    },

    remember(entry, memory) {
      store.note([remembered(entry, memory)])
    }
  }
}

/**
 * What an attempt of which this came changes in what the target has: in doubt until its end is known; if it surely did not
 * arrive, or was none in the end, nothing after all.
 */
function attemptOf(
  jobs: readonly Job[],
  failed: Failure | undefined
): (before: TargetState | undefined, item: Sequenced) => TargetState | undefined {
  const [job] = jobs
  if (failed?.mayHave || job?.entry.running) return afterDoubt
  const { states, stored, entry } = job!
  if (!states || !stored || jobs.length > 1) return before => before
  const had = new Map(entry.alerts.map((item, index) => [item, states[index]]))
  return (before, item) => (had.has(item) ? afterNothing(before, had.get(item)) : before)
}

/** What a part's result says of it while it is not delivered. */
function untried({ entry, heldBack }: Job, failed: Failure | undefined) {
  return {
    attempts: entry.tries,
    durationMs: 0,
    ...(failed?.statusCode === undefined ? {} : { statusCode: failed.statusCode }),
    ...(failed ? { failure: shown(failed) } : {}),
    ...(heldBack ? { heldBack } : {})
  }
}

/** Why nothing was tried, where nothing but the time was in its way: whoever must try again has to know. */
function outOfTime({ heldBack, live }: Job): Failure | undefined {
  return heldBack ? undefined : failure('timeout', `${live.target.kind.title} was not reached: no time was left`)
}

/** The entry with the bytes that its target passes on: while all goes well nobody needs them twice. */
function complete({ entry, live, notification }: Job): Entry {
  if (entry.body !== undefined || entry.content === undefined || !live.target.wire.wantsBytes) return entry
  const { body } = notification
  if (!body) return entry
  let text = bodyTexts.get(body)
  if (text === undefined) bodyTexts.set(body, (text = body.toString()))
  return { ...entry, body: text }
}

/** One text for all targets that are owed the same bytes. */
const bodyTexts = new WeakMap<Buffer, string>()
