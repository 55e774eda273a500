import { priorities, type Store, StoreUnavailable } from '../queues/contract.js'
import type { Failure } from '../targets/contract.js'
import { failure } from '../targets/failures.js'
import type { Books, Next } from './books.js'
import { type DeadLetter, deadId, type Entry, letterOf, priority, shown } from './entry.js'
import { afterClosing, type TargetState } from './lifecycle.js'
import { refusedOutcome } from './outcome.js'

export interface RoomDeps {
  readonly store: Store
  readonly books: Books
  readonly maxPerTarget: number
  /** Entries that some job is about to send. */
  readonly inHand: ReadonlySet<string>
  buried(letter: DeadLetter): void
  now(): number
}

/** How much a target may be owed, and what is given up beyond that. */
export interface Room {
  /** New entries of one target are about to be written; of these the ones for which there is none get a dead letter at once. */
  enter(added: readonly Entry[]): Promise<ReadonlyMap<Entry, DeadLetter>>
  /** They could not be written. */
  withdraw(added: readonly Entry[]): void
  /** They were written: makes room for them, and tells which of them had to go themselves, as the least urgent ones. */
  entered(added: readonly Entry[], letters: ReadonlyMap<Entry, DeadLetter>): Promise<ReadonlySet<Entry>>
  /** Gives up entries of one target that nobody is working on. */
  giveUp(entries: readonly Entry[], failed: Failure): Promise<void>
}

/** Alerts whose entries are given up in one write: a few milliseconds' work, then others get the event loop. */
const alertsAtOnce = 100
/** So many who waited for room go on before others get the event loop. */
const passedAtOnce = 200

export const tooMuch = failure('queue_full', 'the target is owed too much: the oldest least urgent entry made room')

interface Trim {
  /** What is added from now on may be too late for it. */
  begun: boolean
  readonly ended: Promise<void>
}

export function createRoom({ store, books, maxPerTarget, inHand, buried, now }: RoomDeps): Room {
  /** The last trim of each target that is not over. */
  const trims = new Map<string, Trim>()
  /** New entries on their way in, with the dead letter of each that was pushed out again meanwhile. */
  const arriving = new Map<string, DeadLetter | undefined>()
  const passed = turnstile()

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
    for (const id of await store.weakest(target, limit + inHand.size)) {
      const [record] = await store.read([id])
      const entry = record as unknown as Entry | undefined
      if (!entry || entry.running || inHand.has(entry.id)) continue
      entries.push(entry)
      alerts += entry.alerts.length
      if (entries.length === limit || alerts >= alertsAtOnce) break
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
    const changes = books.removed(entries)
    const why = shown(failed)
    for (const entry of entries) {
      const letter = letterOf(entry, why, now())
      changes.push(...books.kept(letter))
      books.addOutcomes(changes, entry, refusedOutcome(letter))
      if (arriving.has(entry.id)) arriving.set(entry.id, letter)
      else buried(letter)
    }
    await books.settle(changes, () => books.states(entries, closing()))
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
    const why = shown(tooMuch)
    return new Map(like.slice(-tooMany).map(entry => [entry, letterOf(entry, why, now())]))
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
    if (letter) buried(letter)
    return letter !== undefined
  }

  return {
    giveUp,

    async enter(added) {
      for (const { id } of added) arriving.set(id, undefined)
      // A store that others use too is asked once, afterwards: the answer would be old by then.
      const owes = store.shared || added.length === 0 ? 0 : (store.owed(added[0]!.target) as number)
      const tooMany = owes + added.length - maxPerTarget
      return owes > 0 && tooMany > 0 ? beyondRoom(added, tooMany) : noLetters
    },

    withdraw(added) {
      for (const entry of added) arrived(entry)
    },

    entered(added, letters) {
      for (const [{ id }, letter] of letters) {
        arriving.delete(id)
        buried(letter)
      }
      return overflowing(letters.size > 0 ? added.filter(entry => !letters.has(entry)) : added)
    }
  }
}

/** How states go on where several entries may carry the same alert: the one after the last of them knows of all. */
function closing(): Next {
  const closed = new Map<string, TargetState>()
  return (before, item, field) => {
    const place = `${field}/${item.alert.fingerprint}`
    const after = afterClosing(closed.get(place) ?? before, item)
    closed.set(place, after)
    return after
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
