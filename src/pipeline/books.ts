import { mapped } from '../mapped.js'
import {
  type Change,
  type Fields,
  type Hold,
  Overtaken,
  oneField,
  type Store,
  StoreUnavailable
} from '../queues/contract.js'
import { openedUnknown } from '../targets/contract.js'
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
  type Ref,
  slotId,
  stateField
} from './entry.js'
import { besideOf } from './ledger.js'
import { inDoubt, packState, type Sequenced, type TargetState, unpackState } from './lifecycle.js'
import type { Outcome } from './outcome.js'
import { turn } from './turn.js'

export interface BooksDeps {
  readonly store: Store
  readonly retentionMs: number
  now(): number
}

/** What has states: alerts, and where they go. */
type Stateful = Pick<Entry, 'target' | 'peer' | 'slot' | 'per_group' | 'alerts'>
/** How a state goes on; `field` is where it is kept. */
export type Next = (before: TargetState | undefined, item: Sequenced, field: string) => TargetState | undefined

/** How what became of an entry is said in the store's terms, and how it gets there. */
export interface Books {
  /** The states of the alerts where they go, as `next` makes them; undefined leaves one as it is. */
  states(entries: readonly Stateful[], next: Next): Change[] | Promise<Change[]>
  /** The same for whoever waits for it in the alerts' lanes: of many, others get the event loop in between. */
  statesInTurns(...of: Parameters<Books['states']>): Change[] | Promise<Change[]>
  addOutcomes(changes: Change[], entry: Entry, outcome: Outcome): void
  /** A dead letter is kept, and what it may have opened. */
  kept(letter: DeadLetter): Change[]
  /** Of groups that have an incident of their own: which of these entries may have opened one that nobody knows of. */
  opened(entries: readonly Entry[]): Change[]
  /** Entries are taken out of the queue. */
  removed(entries: readonly Pick<Entry, 'id' | 'target' | 'slot'>[]): Change[]
  /**
   * Writes what takes entries out of the queue. It is durable before anything newer is sent or answered: else a crash
   * would bring a firing back that was followed by its resolve.
   */
  settle(more: readonly Change[], states: States): Promise<void>
  /** Writes what nobody waits for. */
  note(states: Change[] | Promise<Change[]>): void
}

/** Makes changes that go by what the states are, which others may change before they are written. */
export type States = () => Change[] | Promise<Change[]>

/** Writes changes together with those of states, which are made anew where others were faster. */
export async function writeWith(store: Store, changes: readonly Change[], states: States, hold?: Hold): Promise<void> {
  for (let tries = 1; ; tries++) {
    const made = states()
    try {
      return await store.write([...changes, ...(made instanceof Promise ? await made : made)], hold)
    } catch (error) {
      if (!(error instanceof Overtaken) || tries === mostTries) throw error
    }
  }
}

/** Whoever owes an alert takes none of its lanes. That others change its states so often in a row is no chance any more. */
const mostTries = 20

const dayMs = 86_400_000
/**
 * How long what a target has is remembered, in milliseconds: while firing (each reminder renews it), and as long as dead
 * letters that a replay judges by it; then 24 h.
 */
export const stateMsFor = (retentionMs: number) => ({ firing: Math.max(7 * dayMs, retentionMs), resolved: dayMs })
export const ledgerMs = dayMs

/**
 * How long it is remembered how a part of these alerts ended, in milliseconds: where that stands in an alert's record, for
 * as long as the alert is. Of one that the part does not carry any more it is not known whether it fires.
 */
export function outcomeMs({ key }: Ref, alerts: readonly Sequenced[], stateMs: ReturnType<typeof stateMsFor>): number {
  const fingerprint = besideOf(key)
  if (fingerprint === undefined) return ledgerMs
  for (const { alert } of alerts) if (alert.fingerprint === fingerprint) return stateMs[alert.status]
  return stateMs.firing
}

/** See `Books.states`. */
export function statesIn({ store, retentionMs, now }: BooksDeps): Books['states'] {
  const stateMs = stateMsFor(retentionMs)
  return (entries, next) => {
    const alerts = entries.length === 1 ? entries[0]!.alerts : entries.flatMap(entry => entry.alerts)
    const fields = entries.flatMap(entry => {
      const field = stateField(entry)
      return mapped(entry.alerts, () => field)
    })
    const expiry = now()
    const make = (records: readonly (Fields | undefined)[], otherwise?: TargetState): Change[] =>
      alerts.flatMap((item, index) => {
        const field = fields[index]!
        const state = next(unpackState(records[index]?.[field]) ?? otherwise, item, field)
        if (!state) return []
        const id = alertId(item.alert.fingerprint)
        const change = { id, set: { [field]: packState(state) }, expiresAt: expiry + stateMs[item.alert.status] }
        // Not everybody who writes one has the alert's lane, and what another process reads may be old by then.
        return store.shared ? { ...change, was: { [field]: records[index]?.[field] ?? null } } : change
      })
    const records = store.read(
      mapped(alerts, ({ alert }) => alertId(alert.fingerprint)),
      store.shared ? fields.map(field => [field]) : undefined
    )
    if (!(records instanceof Promise)) return make(records)
    // What is not found while the store is away may be there.
    return records.then(
      async found => make(found, (await store.status()).available ? undefined : inDoubt()),
      () => make([], inDoubt())
    )
  }
}

/** Alerts whose states are read and made before others get the event loop. */
const statesAtOnce = 2_000

export function createBooks(deps: BooksDeps): Books {
  const { store, retentionMs, now } = deps
  const stateMs = stateMsFor(retentionMs)
  const states = statesIn(deps)

  async function ofMany(entry: Stateful, next: Next): Promise<Change[]> {
    const changes: Change[][] = []
    for (let from = 0; from < entry.alerts.length; from += statesAtOnce) {
      await turn()
      changes.push(await states([{ ...entry, alerts: entry.alerts.slice(from, from + statesAtOnce) }], next))
    }
    return changes.flat()
  }

  function opened(entries: readonly Entry[]): Change[] {
    const expiresAt = now() + stateMs.firing
    return entries
      .filter(entry => entry.per_group && entry.may_have)
      .map(entry => ({ id: memoryId(entry), set: openedUnknown, expiresAt }))
  }

  return {
    states,

    statesInTurns(entries, next) {
      const [entry] = entries
      // Several that are written together are no more than fit into one turn.
      const fits = entries.length !== 1 || entry!.alerts.length <= statesAtOnce
      return store.shared || fits ? states(entries, next) : ofMany(entry!, next)
    },

    addOutcomes(changes, entry, outcome) {
      for (const ref of entry.refs) {
        const set = oneField(outcomeField(entry.target, ref), outcome)
        const expiresAt = now() + outcomeMs(ref, entry.alerts, stateMs)
        changes.push({ id: outcomeId(ref, entry.part), set, expiresAt })
      }
    },

    kept(letter) {
      const expiresAt = letter.buried_at + retentionMs
      const change = { id: deadId(letter.id), set: fieldsOf(letter), replace: true, expiresAt }
      return [change, ...opened([letter])]
    },

    opened,

    removed(entries) {
      return entries.flatMap(entry => [
        { id: entryId(entry.id), drop: true, place: null },
        { id: slotId(entry), set: oneField(entry.id, null), tidy: true }
      ])
    },

    async settle(more, states) {
      if (store.durable) {
        try {
          // A Redis that is full still takes what begins by making room.
          return await writeWith(store, more, states)
        } catch (error) {
          if (!(error instanceof StoreUnavailable)) throw error
        }
      }
      store.note([...more, ...(await states())])
    },

    note(states) {
      if (states instanceof Promise) void states.then(store.note)
      else store.note(states)
    }
  }
}
