import type { Hold, Store } from '../queues/contract.js'
import type { Memory } from '../targets/contract.js'
import {
  type Entry,
  entryId,
  laneId,
  laneOf,
  laneOfGroup,
  lanesOf,
  mayHave,
  outcomeField,
  outcomeId,
  standsForGroup
} from './entry.js'
import { type Job, type PartResult, untouched } from './job.js'
import type { Ticket } from './lanes.js'
import { isOwedResolve } from './lifecycle.js'
import { isDelivered, recordedOutcome } from './outcome.js'
import type { Owed } from './owed.js'
import type { Known, Recall } from './recall.js'
import { carry, isSettled, mostMerged, narrow, plan, tells } from './takeover.js'
import { isMany, turn } from './turn.js'

/** What a job holds until it is through. */
export interface Held {
  readonly tickets: Ticket[]
  readonly holds: Hold[]
  /** Entries in the store whose lanes it has. */
  readonly entries: string[]
}

/** What a message is made with, besides its alerts. */
export interface Telling {
  readonly states: Known['states']
  readonly memory: Memory
  readonly firedAndResolved: boolean
  readonly group: Known['group']
}

/** What a delivery finds out, and takes over, once its lanes are its own. */
export interface Look {
  /** What there is to tell the target; if there is nothing, what became of the job. */
  look(job: Job, held: Held): Promise<Telling | PartResult>
  letGo(held: Held): void
}

export interface LookDeps {
  readonly store: Store
  readonly owed: Owed
  readonly recall: Recall['recall']
}

export function createLook({ store, owed, recall }: LookDeps): Look {
  const { inHand } = owed

  function letGo({ holds, entries, tickets }: Held): void {
    for (const hold of holds) store.release(hold)
    for (const id of entries) inHand.delete(id)
    for (const each of tickets) each.leave()
  }

  function takeInHand(held: Held, id: string): void {
    held.entries.push(id)
    inHand.add(id)
  }

  async function look(job: Job, held: Held): Promise<Telling | PartResult> {
    if (job.stored) takeInHand(held, job.entry.id)
    const inherited = inheritedOf(held)
    if (inherited) await doubt(job, inherited)
    if (isMany(job.entry.alerts)) await turn()
    let known = await recall(job)
    if (job.stored && !known.stands) return untouched
    // Two callers had it owned at once, and the other one's was faster.
    if (job.stored && known.deliveredElsewhere) return owed.close(job, [])
    const recorded = job.stored ? undefined : recordedOutcome(job, known.ledger)
    if (recorded) return recorded
    // Of alerts that the target was never to have nothing waits: what does is of others in the group, and left to its own
    // next attempt, which takes all of them. To write it anew for each new one would cost more with every one.
    // But where one incident or message stands for the group, a resolve that waits would close it behind the new ones.
    const mayReplace =
      job.stored ||
      known.states.some(state => state !== undefined) ||
      (!job.heldBack && standsForGroup(job.live.target))
    if (mayReplace && known.waiting.length > 0 && (await fold(job, known.waiting, held))) known = await recall(job)

    const { steps, firedAndResolved, telling } = plan(job, known.states, known.ended)
    if (steps.includes('outdated')) job.entry.in_part = true
    if (telling === 0) return owed.close(job, steps)
    let { states } = known
    if (telling < steps.length) {
      // What is not told replaces what waits all the same, in whatever slot that is.
      const untold = job.entry.alerts.filter((_, index) => states[index]?.owed && isSettled(steps[index]!))
      if (untold.length > 0) owed.dismiss(job.entry, untold)
      const stillFiring = standsForGroup(job.live.target)
        ? states.filter((state, index) => steps[index] === 'outdated' && isOwedResolve(state)).length
        : 0
      states = states.filter((_, index) => tells(steps[index]!))
      narrow(job, steps, stillFiring)
    }
    return { states, memory: known.memory, firedAndResolved, group: known.group }
  }

  /** Takes over what waits in the job's slot, as far as all its lanes are free or already the job's. */
  async function fold(job: Job, waiting: readonly string[], held: Held): Promise<boolean> {
    const { tickets, holds } = held
    const ids = waiting.filter(id => !inHand.has(id)).slice(0, mostMerged)
    if (ids.length === 0) return false
    const records = await store.read(ids.map(entryId))
    const { peer } = job.entry
    const own = new Set(lanesOf(job.live.target, job.entry))
    const taken: Entry[] = []
    for (const record of records) {
      const entry = record as unknown as Entry | undefined
      if (!entry || entry.type !== job.live.type) continue
      // What it may have opened is the incident of this one, too, whether it is taken over or not.
      if (standsForGroup(job.live.target) && mayHave(entry)) job.entry.may_have = true
      const more = lanesOf(job.live.target, { ...entry, peer }).filter(lane => !own.has(lane))
      if (more.length > 0 && own.size + more.length > mostMerged) continue
      const ticket = job.live.lanes.tryTake(more)
      if (!ticket) continue
      const hold =
        store.shared && more.length > 0 ? await store.hold(more.map(lane => laneId(job.live.name, lane))) : undefined
      if (store.shared && more.length > 0 && !hold) {
        ticket.leave()
        continue
      }
      tickets.push(ticket)
      if (hold) holds.push(hold)
      for (const lane of more) own.add(lane)
      taken.push(entry)
    }
    if (taken.length === 0) return false
    for (const { id } of [job.entry, ...taken]) takeInHand(held, id)
    // It goes on under the oldest one's id: if that is another, its own must not stay behind.
    job.folded = [...job.folded, ...(job.stored ? [job.entry] : []), ...taken]
    const told = await toldOf(taken)
    for (const entry of told) owed.dismiss(entry, entry.alerts)
    if (told.size < taken.length)
      carry(
        job,
        taken.filter(entry => !told.has(entry))
      )
    const inherited = inheritedOf(held)
    if (inherited) await doubt(job, inherited)
    return true
  }

  /** In a lane that somebody died in, what was under way there may have arrived, whatever becomes of this job. */
  async function doubt({ live, entry }: Job, inherited: ReadonlySet<string>): Promise<void> {
    const died = (lane: string): boolean => inherited.has(laneId(live.name, lane))
    if (died(laneOfGroup(entry.slot))) entry.may_have = true
    const alerts = entry.alerts.filter(({ alert }) => died(laneOf(entry.peer, alert.fingerprint)))
    await owed.doubt({ ...entry, alerts })
  }

  /** The entries of which another request of the same key was faster, and told all that waits. */
  async function toldOf(entries: readonly Entry[]): Promise<ReadonlySet<Entry>> {
    const ids = entries.flatMap(({ refs, part }) => refs.map(ref => outcomeId(ref, part)))
    const fields = entries.flatMap(({ refs, target }) => refs.map(ref => [outcomeField(target, ref)]))
    const ledgers = [...(await store.read(ids, fields))]
    return new Set(entries.filter(entry => isDelivered(entry, ledgers.splice(0, entry.refs.length))))
  }

  return { look, letGo }
}

/** Lanes that somebody died in; undefined if there is none. */
function inheritedOf({ holds }: Held): ReadonlySet<string> | undefined {
  return holds.some(({ inherited }) => inherited?.length)
    ? new Set(holds.flatMap(hold => hold.inherited ?? []))
    : undefined
}
