import { type Change, type Fields, type Hold, priorities, type Store, StoreUnavailable } from '../queues/contract.js'
import type { Failure, Memory } from '../targets/contract.js'
import { failure } from '../targets/failures.js'
import type { Attempted } from './attempt.js'
import {
  alertId,
  type DeadLetter,
  deadId,
  type Entry,
  entryId,
  fieldsOf,
  memoryId,
  outcomeField,
  outcomeId,
  priority,
  slotId,
  stateField,
  stored
} from './entry.js'
import type { Job, PartResult } from './job.js'
import {
  afterClosing,
  afterDelivery,
  afterDoubt,
  afterOwing,
  packState,
  type Sequenced,
  type Step,
  type TargetState,
  unpackState
} from './lifecycle.js'
import { deliveredOutcome, type Outcome, refusedOutcome } from './outcome.js'

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
  /** The target has it. Nobody waits until that is written, unless it takes something out of the queue. */
  done(
    job: Job,
    states: readonly (TargetState | undefined)[],
    attempted: Attempted,
    durationMs: number
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
  /** It is given up: a dead letter. */
  bury(job: Job, failed: Failure, durationMs: number): Promise<PartResult>
  /** There was nothing to tell: `steps` says why, for each of the entry's alerts; none if another delivery told it all. */
  close(job: Job, steps: readonly Step[]): Promise<PartResult>
  /** Some of the entry's alerts are not told, and nothing older that waits for the target shall be either. */
  dismiss(entry: Entry, alerts: readonly Sequenced[]): void
  /**
   * An attempt begins at what stands in the queue: if the process dies meanwhile, it may have arrived. Durable once this
   * resolves, and what the job took over is one with it by then: after a crash nothing older is sent any more.
   */
  begin(job: Job): Promise<void>
  /** What a vendor told, although the attempt failed later on. */
  remember(entry: Entry, memory: Memory): void
  /** Gives up entries of one target that nobody is working on. */
  giveUp(entries: readonly Entry[], failed: Failure): Promise<void>
}

const dayMs = 86_400_000
/** How long what a target has is remembered: while firing (each reminder renews it), then 24 h. */
const stateMs = { firing: 7 * dayMs, resolved: dayMs }
const ledgerMs = dayMs

/** Alerts whose entries are given up in one write: a few milliseconds' work, then others get the event loop. */
const alertsAtOnce = 100
/** So many who waited for room go on before others get the event loop. */
const passedAtOnce = 200

const tooMuch = failure('queue_full', 'the target is owed too much: the oldest least urgent entry made room')

interface Trim {
  /** What is added from now on may be too late for it. */
  begun: boolean
  readonly ended: Promise<void>
}

export function createOwed({ store, events, maxPerTarget, retentionMs, now }: OwedDeps): Owed {
  /** The last trim of each target that is not over. */
  const trims = new Map<string, Trim>()
  /** New entries on their way in, with the dead letter of each that was pushed out again meanwhile. */
  const arriving = new Map<string, DeadLetter | undefined>()
  const passed = turnstile()

  /** The states of the alerts at one target, as `next` makes them. */
  function states(
    target: string,
    alerts: readonly Sequenced[],
    next: (before: TargetState | undefined, item: Sequenced) => TargetState
  ): Change[] | Promise<Change[]> {
    const field = stateField(target)
    const expiry = now()
    const make = (records: readonly (Fields | undefined)[]): Change[] =>
      alerts.map((item, index) => ({
        id: alertId(item.alert.fingerprint),
        set: { [field]: packState(next(unpackState(records[index]?.[field]), item)) },
        expiresAt: expiry + stateMs[item.alert.status]
      }))
    const records = store.read(
      alerts.map(({ alert }) => alertId(alert.fingerprint)),
      store.shared ? alerts.map(() => [field]) : undefined
    )
    return records instanceof Promise ? records.then(make, () => make([])) : make(records)
  }

  function addOutcomes(changes: Change[], entry: Entry, outcome: Outcome): void {
    for (const ref of entry.refs) {
      const set = { [outcomeField(entry.target)]: outcome }
      changes.push({ id: outcomeId(ref, entry.part), set, expiresAt: now() + ledgerMs })
    }
  }

  function outcomes(entry: Entry, outcome: Outcome): Change[] {
    const changes: Change[] = []
    addOutcomes(changes, entry, outcome)
    return changes
  }

  function written(letter: DeadLetter): Change {
    return { id: deadId(letter.id), set: fieldsOf(letter), replace: true, expiresAt: letter.buried_at + retentionMs }
  }

  /** Takes entries out of the queue. */
  function removed(entries: readonly Pick<Entry, 'id' | 'target' | 'slot'>[]): Change[] {
    return entries.flatMap(entry => [
      { id: entryId(entry.id), drop: true, place: null },
      { id: slotId(entry), set: { [entry.id]: null } }
    ])
  }

  /** An empty memory forgets, so that a re-fire opens anew. */
  function remembered(entry: Entry, memory: Memory): Change {
    const id = memoryId(entry)
    if (Object.keys(memory).length === 0) return { id, drop: true }
    return { id, set: { ...memory }, replace: true, expiresAt: now() + stateMs.firing }
  }

  /**
   * Writes what takes entries out of the queue. It is durable before anything newer is sent or answered: else a crash
   * would bring a firing back that was followed by its resolve.
   */
  async function settle(states: Change[] | Promise<Change[]>, more: readonly Change[]): Promise<void> {
    const changes = [...(await states), ...more]
    if (store.durable) {
      try {
        return await store.write(changes)
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error
      }
    }
    store.note(changes)
  }

  function noteAfter(changes: Change[] | Promise<Change[]>, more: Change[]): void {
    if (changes instanceof Promise) void changes.then(list => store.note([...list, ...more]))
    else store.note([...changes, ...more])
  }

  /** Gives up what a target is owed beyond its room; who comes while that goes on waits for the next time, with all others. */
  function trim(target: string): Promise<void> {
    const last = trims.get(target)
    if (last && !last.begun) return last.ended
    const begin = (): Promise<void> => {
      next.begun = true
      return makeRoom(target)
    }
    const next: Trim = { begun: false, ended: last ? last.ended.then(begin, begin) : Promise.resolve().then(begin) }
    trims.set(target, next)
    const forget = (): void => {
      if (trims.get(target) === next) trims.delete(target)
    }
    next.ended.then(forget, forget)
    return next.ended
  }

  /** The oldest of the lowest priority go first. */
  async function makeRoom(target: string): Promise<void> {
    for (;;) {
      const tooMany = (await store.owed(target)) - maxPerTarget
      if (tooMany <= 0) return
      const idle = await weakest(target, Math.min(tooMany, alertsAtOnce))
      if (idle.length === 0) return
      await giveUp(idle, tooMuch)
    }
  }

  /** Entries that nobody is working on, as many as are given up at once. */
  async function weakest(target: string, limit: number): Promise<Entry[]> {
    const entries: Entry[] = []
    let alerts = 0
    for (const id of await store.weakest(target, limit)) {
      const [record] = await store.read([id])
      const entry = record as unknown as Entry | undefined
      if (!entry || entry.running) continue
      entries.push(entry)
      alerts += entry.alerts.length
      if (alerts >= alertsAtOnce) break
    }
    return entries
  }

  async function giveUp(entries: readonly Entry[], failed: Failure): Promise<void> {
    for (let from = 0, to = 0; from < entries.length; from = to) {
      for (let alerts = 0; to < entries.length && alerts < alertsAtOnce; to++) alerts += entries[to]!.alerts.length
      await giveUpAtOnce(entries.slice(from, to), failed)
    }
  }

  /** One durable write for all of them, which are of one target. */
  async function giveUpAtOnce(entries: readonly Entry[], failed: Failure): Promise<void> {
    const changes = removed(entries)
    for (const entry of entries) {
      const letter: DeadLetter = { ...entry, running: undefined, buried_at: now(), failure: shown(failed) }
      changes.push(written(letter))
      addOutcomes(changes, entry, refusedOutcome(letter))
      if (arriving.has(entry.id)) arriving.set(entry.id, letter)
      else events.buried(letter)
    }
    // Several may carry the same alert, and the state after the last one knows of all.
    const closed = new Map<string, TargetState>()
    const close = (before: TargetState | undefined, item: Sequenced): TargetState => {
      const { fingerprint } = item.alert
      const after = afterClosing(closed.get(fingerprint) ?? before, item)
      closed.set(fingerprint, after)
      return after
    }
    const alerts = entries.flatMap(entry => entry.alerts)
    await settle(states(entries[0]!.target, alerts, close), changes)
  }

  async function ownAll(
    jobs: readonly Job[],
    failed: Failure | undefined,
    hold: Hold | undefined,
    dueAt = now() + (failed?.retryAfterMs ?? 0)
  ): Promise<PartResult[]> {
    const { target } = jobs[0]!.entry
    const alerts = jobs.length === 1 ? jobs[0]!.entry.alerts : jobs.flatMap(job => job.entry.alerts)
    const doubtful = failed?.mayHave === true
    const next = (before: TargetState | undefined, item: Sequenced): TargetState =>
      afterOwing(doubtful ? afterDoubt(before, item) : before, item)
    const unowned = (job: Job): PartResult => ({ kind: 'unowned', ...untried(job, failed) })
    const queued = (job: Job): PartResult => ({ kind: 'queued', id: job.entry.id, ...untried(job, failed) })
    if (!store.durable) {
      if (doubtful) noteAfter(states(target, alerts, afterDoubt), [])
      return jobs.map(unowned)
    }
    const failure = failed && shown(failed)
    const entries = jobs.map<Entry>(job => ({ ...complete(job), due_at: dueAt, ...(failure ? { failure } : {}) }))
    const added = entries.filter((_, index) => !jobs[index]!.stored && jobs[index]!.folded.length === 0)
    for (const { id } of added) arriving.set(id, undefined)
    let letters: ReadonlyMap<Entry, DeadLetter> = noLetters
    try {
      // A store that others use too is asked once, afterwards: the answer would be old by then.
      const owes = store.shared || added.length === 0 ? 0 : (store.owed(target) as number)
      const tooMany = owes + added.length - maxPerTarget
      if (owes > 0 && tooMany > 0) letters = await beyondRoom(added, tooMany)
      const changes: Change[] = []
      for (const [index, entry] of entries.entries()) {
        const letter = letters.get(entry)
        if (letter) {
          changes.push(written(letter))
          addOutcomes(changes, entry, refusedOutcome(letter))
          continue
        }
        const { folded } = jobs[index]!
        changes.push(stored(entry), { id: slotId(entry), set: { [entry.id]: 1 } })
        addOutcomes(changes, entry, ['q', entry.id])
        if (folded.length > 0) changes.push(...removed(folded.filter(other => other.id !== entry.id)))
      }
      const given = letters.size > 0 ? new Set([...letters.keys()].flatMap(entry => entry.alerts)) : undefined
      const stateAfter = (before: TargetState | undefined, item: Sequenced): TargetState =>
        given?.has(item) ? afterClosing(next(before, item), item) : next(before, item)
      // To add what is owed takes no lane: a lease that was lost meanwhile must not lose the alert.
      await store.write([...changes, ...(await states(target, alerts, stateAfter))], hold?.valid() ? hold : undefined)
    } catch (error) {
      for (const entry of added) arrived(entry)
      if (!(error instanceof StoreUnavailable)) throw error
      for (const entry of entries) events.submitted(entry, 'unavailable')
      if (doubtful) noteAfter(states(target, alerts, afterDoubt), [])
      // What already stands in the store is owed all the same.
      return jobs.map(job => (job.stored ? queued(job) : unowned(job)))
    }
    for (const [index, job] of jobs.entries()) {
      const entry = entries[index]!
      job.entry = entry
      if (letters.has(entry)) continue
      job.stored = true
      job.folded = []
      events.submitted(entry, 'queued')
    }
    for (const [{ id }, letter] of letters) {
      arriving.delete(id)
      events.buried(letter)
    }
    const pushedOut = await overflowing(letters.size > 0 ? added.filter(entry => !letters.has(entry)) : added)
    return jobs.map(job =>
      letters.has(job.entry) || pushedOut.has(job.entry)
        ? { kind: 'refused', ...untried(job, failed), failure: shown(tooMuch), id: job.entry.id }
        : queued(job)
    )
  }

  /**
   * Those of a publish for which there is no room: the least urgent in the queue are of the same publish, so that each of
   * them would push out another one like it, or be pushed out itself.
   */
  async function beyondRoom(added: readonly Entry[], tooMany: number): Promise<ReadonlyMap<Entry, DeadLetter>> {
    const first = added[0]!
    const [record] = await store.read(await store.weakest(first.target, 1))
    const least = record as unknown as Entry | undefined
    if (least?.publish_id !== first.publish_id) return noLetters
    const rank = priorities.indexOf(priority(least))
    const like = added.filter(entry => !entry.running && priorities.indexOf(priority(entry)) >= rank)
    return new Map(like.slice(-tooMany).map(entry => [entry, { ...entry, buried_at: now(), failure: shown(tooMuch) }]))
  }

  /** Makes room for entries of one target that were added; those that had to go themselves, as the least urgent ones. */
  async function overflowing(added: readonly Entry[]): Promise<ReadonlySet<Entry>> {
    const [first] = added
    if (!first) return noEntries
    const owes = store.owed(first.target)
    const elsewhere = new Set<Entry>()
    if ((typeof owes === 'number' ? owes : await owes) > maxPerTarget) {
      try {
        await trim(first.target)
        // Another process may have made the room.
        const letters = store.shared ? await store.read(added.map(({ id }) => deadId(id))) : []
        for (const [index, letter] of letters.entries()) if (letter) elsewhere.add(added[index]!)
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error
      }
      await passed()
    }
    for (const entry of added) if (arrived(entry)) elsewhere.add(entry)
    return elsewhere
  }

  /** Ends the arrival of an entry; true if it was pushed out again, which is told only now, after it was submitted. */
  function arrived({ id }: Entry): boolean {
    const letter = arriving.get(id)
    arriving.delete(id)
    if (letter) events.buried(letter)
    return letter !== undefined
  }

  return {
    giveUp,
    done(job, before, { memory, statusCode }, durationMs) {
      const { entry } = job
      const at = now()
      const result: PartResult = { kind: 'delivered', attempts: entry.tries, durationMs, statusCode }
      const outcome = deliveredOutcome(statusCode, entry.tries, durationMs)
      const field = stateField(entry.target)
      const stateAt = (index: number): string => packState(afterDelivery(before[index], entry.alerts[index]!))
      if (!job.stored && job.folded.length === 0 && !memory) {
        for (let index = 0; index < entry.alerts.length; index++) {
          const { alert } = entry.alerts[index]!
          store.mark(alertId(alert.fingerprint), field, stateAt(index), at + stateMs[alert.status])
        }
        for (const ref of entry.refs)
          store.mark(outcomeId(ref, entry.part), outcomeField(entry.target), outcome, at + ledgerMs)
        return result
      }
      const changes = entry.alerts.map<Change>(({ alert }, index) => ({
        id: alertId(alert.fingerprint),
        set: { [field]: stateAt(index) },
        expiresAt: at + stateMs[alert.status]
      }))
      addOutcomes(changes, entry, outcome)
      if (memory) changes.push(remembered(entry, memory))
      if (job.stored || job.folded.length > 0)
        return settle(changes, removed([entry, ...job.folded])).then(() => result)
      store.note(changes)
      return result
    },

    async own(job, failed, hold, dueAt) {
      const [result] = await ownAll([job], failed, hold, dueAt)
      return result!
    },
    ownAll,

    async bury(job, failed, durationMs) {
      const { entry, live } = job
      const letter: DeadLetter = { ...complete(job), buried_at: now(), failure: shown(failed) }
      const { statusCode } = failed
      await settle(
        states(entry.target, entry.alerts, (before, item) =>
          afterClosing(failed.mayHave ? afterDoubt(before, item) : before, item)
        ),
        [
          written(letter),
          ...(job.stored || job.folded.length > 0 ? removed([entry, ...job.folded]) : []),
          ...outcomes(entry, refusedOutcome(letter, live.target.version))
        ]
      )
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

    async begin(job) {
      const { folded } = job
      const entry: Entry = { ...complete(job), running: true }
      const isOther = ({ id }: Entry): boolean => id !== entry.id
      const changes =
        folded.length === 0
          ? [{ id: entryId(entry.id), set: { running: true } }]
          : [stored(entry), { id: slotId(entry), set: { [entry.id]: 1 } }, ...removed(folded.filter(isOther))]
      try {
        await store.write(changes)
      } catch (error) {
        if (error instanceof StoreUnavailable) return
        throw error
      }
      job.stored = true
    },

    dismiss(entry, alerts) {
      noteAfter(states(entry.target, alerts, afterClosing), [])
    },

    async close(job, steps) {
      const { entry } = job
      const closed = entry.alerts.filter((_, index) => steps[index] !== 'outdated')
      const step = (steps.find(each => each !== 'outdated') ?? 'outdated') as Exclude<
        Step,
        'send' | 'fired_and_resolved'
      >
      // A caller who asks again is told that nothing is owed any more.
      const more = job.stored || job.folded.length > 0 ? removed([entry, ...job.folded]) : []
      if (more.length > 0 && steps.length > 0) addOutcomes(more, entry, deliveredOutcome(undefined, entry.tries, 0))
      const after = closed.length === 0 ? [] : states(entry.target, closed, afterClosing)
      if (more.length > 0) await settle(after, more)
      else noteAfter(after, [])
      return { kind: 'nothing', step, attempts: entry.tries, durationMs: 0 }
    },

    remember(entry, memory) {
      store.note([remembered(entry, memory)])
    }
  }
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

const noEntries: ReadonlySet<Entry> = new Set()
const noLetters: ReadonlyMap<Entry, DeadLetter> = new Map()

/** Lets so many go on in one turn of the event loop. */
function turnstile(): () => Promise<void> {
  const waiting: (() => void)[] = []
  const open = (): void => {
    for (const pass of waiting.splice(0, passedAtOnce)) pass()
    if (waiting.length > 0) setImmediate(open)
  }
  return () =>
    new Promise(resolve => {
      if (waiting.push(resolve) === 1) setImmediate(open)
    })
}

function shown({
  type,
  reason,
  message,
  statusCode
}: Failure): Pick<Failure, 'type' | 'reason' | 'message' | 'statusCode'> {
  return { type, reason, message, ...(statusCode === undefined ? {} : { statusCode }) }
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
