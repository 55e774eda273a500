import { deadId } from '../pipeline/entry.js'
import { everyRecord, type Store } from '../queues/contract.js'

/** How many dead letters each target has. */
export interface DeadLetterCounts {
  of(target: string): number
  targets(): Iterable<string>
  change(target: string, by: 1 | -1): void
  /** Counts anew if the last count is old. Rejects if the store is away. */
  freshen(store: Store): Promise<void>
}

/** Dead letters also expire, and other replicas write and remove them: nobody tells of that. */
const freshMs = 300_000

export function countDeadLetters(now: () => number): DeadLetterCounts {
  let counts = new Map<string, number>()
  let countedAt = Number.NEGATIVE_INFINITY
  let counting: Promise<void> | undefined

  async function count(store: Store): Promise<void> {
    const fresh = new Map<string, number>()
    for await (const fields of everyRecord(store, deadId(''), ['target'])) {
      const target = String(fields.target)
      fresh.set(target, (fresh.get(target) ?? 0) + 1)
    }
    counts = fresh
    countedAt = now()
  }

  return {
    of: target => counts.get(target) ?? 0,
    targets: () => counts.keys(),
    change: (target, by) => void counts.set(target, Math.max((counts.get(target) ?? 0) + by, 0)),
    freshen(store) {
      if (now() - countedAt < freshMs) return Promise.resolve()
      counting ??= count(store).finally(() => (counting = undefined))
      return counting
    }
  }
}
