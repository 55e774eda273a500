import type { DeadLetters } from '../pipeline/dead-letters.js'
import type { DeadLetter } from '../pipeline/entry.js'

/** Dead letters of one target that were given up for one reason: what one person mends at once. */
export interface LetterGroup {
  readonly target: string
  readonly reason: string
  /** The last one's failure in words. */
  readonly message: string
  readonly count: number
  readonly alerts: number
  readonly newestAt: number
  /** The newest ones, newest first. */
  readonly letters: readonly DeadLetter[]
}

export interface Letters {
  readonly groups: readonly LetterGroup[]
  /** Whether there are more than were looked at. */
  readonly more: boolean
}

/** Dead letters that are looked at for one page. */
const mostLetters = 500
/** Letters of a group that are shown one by one. */
const mostShown = 10

/** What was given up, the group with the newest letter first. */
export async function readLetters(deadLetters: DeadLetters): Promise<Letters> {
  const { letters, more } = await deadLetters.list({}, undefined, mostLetters)
  const byCause = new Map<string, DeadLetter[]>()
  for (const letter of letters) {
    const cause = `${letter.target} ${letter.failure.reason}`
    const same = byCause.get(cause)
    if (same) same.push(letter)
    else byCause.set(cause, [letter])
  }
  const groups = [...byCause.values()].map(groupOf).sort((a, b) => b.newestAt - a.newestAt)
  return { groups, more }
}

function groupOf(letters: DeadLetter[]): LetterGroup {
  const newest = letters.sort((a, b) => b.buried_at - a.buried_at)[0]!
  return {
    target: newest.target,
    reason: newest.failure.reason,
    message: newest.failure.message,
    count: letters.length,
    alerts: letters.reduce((sum, { alerts }) => sum + alerts.length, 0),
    newestAt: newest.buried_at,
    letters: letters.slice(0, mostShown)
  }
}
