import { mapped } from '../mapped.js'
import type { Fields, Store } from '../queues/contract.js'
import { type Memory, openedUnknown } from '../targets/contract.js'
import {
  alertId,
  type Entry,
  entryId,
  groupId,
  isWithKey,
  memoryId,
  outcomeField,
  outcomeId,
  type Ref,
  slotId,
  standsForGroup,
  stateField
} from './entry.js'
import type { Job } from './job.js'
import { isEnd, roundField, roundOf } from './ledger.js'
import { type TargetState, unpackState } from './lifecycle.js'
import { isDelivered } from './outcome.js'
import { isSame } from './takeover.js'

/** What the store knows that matters to a job, read once its lanes are its own. */
export interface Known {
  /** What the target has of each of the entry's alerts. */
  readonly states: readonly (TargetState | undefined)[]
  /** Which of them have ended, whoever was told; absent where the target would have been owed that. */
  readonly ended: readonly boolean[] | undefined
  readonly memory: Memory
  /** What the target was told last of the group as a whole, where that is asked. */
  readonly group: TargetState | undefined
  /** What else waits in the job's slot. */
  readonly waiting: readonly string[]
  readonly ledger: Fields | undefined
  /** Whether the entry still stands in the queue as it was read: another process may have been at it meanwhile. */
  readonly stands: boolean
  /** Whether a delivery of the same part for the same key has succeeded. */
  readonly deliveredElsewhere: boolean
}

export interface Recall {
  /** The states without a look, where nothing can have happened since the notification was accepted. */
  already(job: Job): Known['states'] | undefined
  recall(job: Job): Known | Promise<Known>
}

export function createRecall(store: Store): Recall {
  return {
    already({ fresh, records, live, entry }) {
      if (!fresh || !records || !live.target.wire.forgets) return undefined
      // What the target is owed is none of these alerts if nobody has ever heard of them; of their group it may be.
      if (store.owed(live.name) !== 0 && (standsForGroup(live.target) || records.some(record => record !== undefined)))
        return undefined
      const field = stateField(entry)
      return mapped(records, record => unpackState(record?.[field]))
    },

    recall(job) {
      const { entry } = job
      const { refs, alerts } = entry
      const [first] = refs
      const ids = [
        slotId(entry),
        job.live.target.wire.forgets ? '' : memoryId(entry),
        // Only what waited can have been overtaken.
        job.stored && standsForGroup(job.live.target) ? groupId(entry) : '',
        job.stored ? entryId(entry.id) : first ? outcomeId(first, entry.part) : '',
        ...mapped(alerts, ({ alert }) => alertId(alert.fingerprint)),
        ...(job.stored ? refs.map(ref => outcomeId(ref, entry.part)) : [])
      ]
      const ofState = stateField(entry)
      const isOver = (ref: Ref, ledger: Fields | undefined): boolean =>
        isWithKey(ref, entry.part) && ledger !== undefined && roundOf(ledger, ref.key)?.round !== ref.round
      const read = (records: readonly (Fields | undefined)[], isAway = false): Known => {
        const ledgers = records.slice(4 + alerts.length)
        // How an earlier round ends is no business of the one that began since.
        if (job.stored && refs.some((ref, index) => isOver(ref, ledgers[index])))
          job.entry = { ...entry, refs: refs.filter((ref, index) => !isOver(ref, ledgers[index])) }
        return {
          waiting: Object.keys(records[0] ?? {}).filter(id => id !== entry.id),
          // What a kind remembers is not known while the store is away, which is not the same as that there is nothing.
          memory: (isAway ? { ...records[1], ...openedUnknown } : (records[1] ?? {})) as Memory,
          group: unpackState(records[2]?.s),
          ledger: job.stored ? undefined : records[3],
          stands: records[3] !== undefined && isSame(records[3] as unknown as Entry, entry),
          deliveredElsewhere: job.stored && isDelivered(entry, ledgers),
          states: mapped(records.slice(4, 4 + alerts.length), record => unpackState(record?.[ofState])),
          ended: hasMissedSome(job) ? alerts.map((_, index) => isEnd(records[4 + index]?.k)) : undefined
        }
      }
      const records = store.read(ids, store.shared ? needed(job) : undefined)
      if (!(records instanceof Promise)) return read(records)
      return records.then(
        async found => read(found, !(await store.status()).available),
        () => read([], true)
      )
    }
  }
}

/**
 * Whether the target was gone while some of the job waited. No resolve that came meanwhile is owed to it; any other one
 * is, or was meant for others, whose word on the alert is not the last for this one.
 */
function hasMissedSome({ stored, folded, entry, live }: Job): boolean {
  return (stored || folded.length > 0) && entry.accepted_at < live.backAt
}

/** Of the records of alerts and keys just the job's own fields: a thousand targets or parts may have theirs there. */
function needed(job: Job): (readonly string[] | undefined)[] {
  const { entry, stored } = job
  const state = stateField(entry)
  const ofAlert = hasMissedSome(job) ? [state, 'k'] : [state]
  const ofKeys = entry.refs.map(ref => [roundField(ref.key), outcomeField(entry.target, ref)])
  const first = stored ? undefined : ofKeys[0]
  return [undefined, undefined, undefined, first, ...entry.alerts.map(() => ofAlert), ...ofKeys]
}
