import { type DeadLetter, deadId } from '../pipeline/entry.js'
import { everyRecord, type Store } from '../queues/contract.js'
import { readEntries } from './entries.js'

/** Dead letters of one target that were given up for one reason: what one person mends at once. */
export interface LetterGroup {
  readonly target: string
  readonly reason: string
  /** The last one's failure in words. */
  readonly message: string
  readonly count: number
  /** Alerts in them, where all of them were looked at. */
  readonly alerts: number | undefined
  readonly newestAt: number
  /** The newest ones, newest first. */
  readonly letters: readonly DeadLetter[]
}

export interface Letters {
  readonly groups: readonly LetterGroup[]
  /** When they were counted, in milliseconds since the epoch. */
  readonly countedAt: number
}

/** What a letter is counted by; its alerts would be most of what is read. */
const countedBy = ['id', 'target', 'failure', 'buried_at'] as const
type Counted = Pick<DeadLetter, (typeof countedBy)[number]>

/** The letters of one group, before any was read whole. */
interface Cause {
  count: number
  /** The newest ones, newest first; at least one. */
  newest: Counted[]
}

/** Letters of a group that are shown one by one, and groups of which any are. */
const mostShown = 10
const mostGroups = 20
/** A count that took longer is not waited for again, and rests so many times as long as it took: open pages ask for it all the time. */
const quickMs = 100
const restTimes = 20

/** What was given up, the group with the newest letter first. All letters are counted, but of many not for every page. */
export function openLetters(store: Pick<Store, 'list' | 'read'>, now: () => number): () => Promise<Letters> {
  let causes: Cause[] = []
  let countedAt = Number.NEGATIVE_INFINITY
  let tookMs = 0
  let counting: Promise<void> | undefined

  async function count(): Promise<void> {
    const began = now()
    const byCause = new Map<string, Cause>()
    for await (const fields of everyRecord(store, deadId(''), countedBy)) {
      const letter = fields as unknown as Counted
      const key = `${letter.target} ${letter.failure.reason}`
      const cause = byCause.get(key) ?? { count: 0, newest: [] }
      byCause.set(key, cause)
      cause.count++
      insert(cause.newest, letter)
    }
    causes = [...byCause.values()].sort((a, b) => b.newest[0]!.buried_at - a.newest[0]!.buried_at)
    countedAt = now()
    tookMs = countedAt - began
  }

  async function freshen(): Promise<void> {
    const isSlow = tookMs > quickMs
    if (isSlow && now() - countedAt < tookMs * restTimes) return
    counting ??= count().finally(() => (counting = undefined))
    if (isSlow) counting.catch(() => {})
    else await counting
  }

  return async () => {
    await freshen()
    const groups: LetterGroup[] = []
    for (const cause of causes) {
      const group = await groupOf(store, cause, groups.length < mostGroups ? mostShown : 0)
      if (group.count > 0) groups.push(group)
    }
    return { groups, countedAt }
  }
}

/** Most come in the order in which they were given up. */
function insert(newest: Counted[], letter: Counted): void {
  const index = newest.findIndex(({ buried_at }) => buried_at <= letter.buried_at)
  if (index >= 0) newest.splice(index, 0, letter)
  else if (newest.length < mostShown) newest.push(letter)
  if (newest.length > mostShown) newest.pop()
}

/** What was replayed or discarded since the count is left out as far as it would be shown. */
async function groupOf(store: Pick<Store, 'read'>, { count, newest }: Cause, most: number): Promise<LetterGroup> {
  const ids = newest.slice(0, most).map(({ id }) => deadId(id))
  const { entries: letters, gone } = await readEntries<DeadLetter>(store, ids)
  const { target, failure, buried_at: newestAt } = letters[0] ?? newest[0]!
  return {
    target,
    reason: failure.reason,
    message: failure.message,
    count: count - gone,
    alerts: letters.length === count - gone ? letters.reduce((sum, { alerts }) => sum + alerts.length, 0) : undefined,
    newestAt,
    letters
  }
}
