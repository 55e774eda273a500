import { severityOf } from '../alert.js'
import type { Entry } from '../pipeline/entry.js'
import type { LiveTarget } from '../pipeline/live.js'
import type { Roster } from '../pipeline/roster.js'
import { priorities, type Store } from '../queues/contract.js'
import { gravityOf } from '../targets/severity.js'
import { adviceFor } from './advice.js'
import { readEntries } from './entries.js'

/** When a target gets the next thing that it is owed. Times are milliseconds since the epoch. */
export type Next =
  | { readonly kind: 'at'; readonly at: number }
  | { readonly kind: 'now' | 'probing' | 'disabled' | 'gone' }

/** What one target is owed, and why it does not have it yet. */
export interface Waiting {
  readonly target: string
  /** Entries of the queue. */
  readonly count: number
  /** Alerts in them, where all of them were looked at. */
  readonly alerts: number | undefined
  readonly oldestAt: number
  /** When the oldest critical one was accepted. */
  readonly oldestCriticalAt: number | undefined
  /** In words, without a full stop. */
  readonly why: string
  readonly reason: string | undefined
  /** Why nothing is tried at the moment. */
  readonly held: string
  readonly next: Next
  /** The most urgent ones. */
  readonly entries: readonly Entry[]
}

/** Entries that are looked at for each target. */
const mostEntries = 20
/** Targets whose entries are looked at. */
const mostTargets = 10

/** What every target is owed: first those that are owed a critical alert, then those that wait longest. */
export async function readWaiting(store: Store, roster: Roster, now: number): Promise<Waiting[]> {
  const [depths, earliest] = await Promise.all([store.depths(), store.earliest()])
  const owed = depths
    .map(({ target, counts, oldest }) => ({
      target,
      count: priorities.reduce((sum, name) => sum + counts[name], 0),
      oldestAt: Math.min(...Object.values(oldest), now),
      oldestCriticalAt: oldest.high
    }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => urgency(a) - urgency(b))
  return Promise.all(
    owed.map(async (each, index) => {
      const live = roster.get(each.target)
      const entries = index < mostTargets ? await mostUrgent(store, each.target) : []
      const failures = entries.flatMap(({ failure, attempts }) =>
        failure ? [{ failure, at: attempts.at(-1)?.at ?? 0 }] : []
      )
      const held = heldBack(live)
      const last = failures.sort((a, b) => b.at - a.at)[0]?.failure
      return {
        ...each,
        alerts: entries.length === each.count ? entries.reduce((sum, { alerts }) => sum + alerts.length, 0) : undefined,
        why: last?.message ?? held,
        held,
        reason: last?.reason ?? (live?.breaker.state === 'closed' ? undefined : live?.breaker.reason),
        next: nextOf(live, earliest.get(each.target) ?? now, now),
        entries
      }
    })
  )
}

const urgency = (each: { readonly oldestAt: number; readonly oldestCriticalAt: number | undefined }): number =>
  each.oldestCriticalAt === undefined ? each.oldestAt : each.oldestCriticalAt - Number.MAX_SAFE_INTEGER

async function mostUrgent(store: Store, target: string): Promise<Entry[]> {
  const ids: string[] = []
  for (const priority of priorities) {
    if (ids.length < mostEntries)
      ids.push(...(await store.due(target, priority, Number.POSITIVE_INFINITY, mostEntries - ids.length)))
  }
  return (await readEntries<Entry>(store, ids)).entries
}

function heldBack(live: LiveTarget | undefined): string {
  if (!live) return 'no target has this name any more'
  if (!live.target.settings.enabled) return 'the target is disabled'
  if (live.breaker.state !== 'closed') return `its circuit is open (${adviceFor[live.breaker.reason].short})`
  if (live.health.status === 'unhealthy' || live.health.status === 'degraded') return `it was ${live.health.status}`
  return 'it waits for its turn'
}

function nextOf(live: LiveTarget | undefined, dueAt: number, now: number): Next {
  if (!live) return { kind: 'gone' }
  if (!live.target.settings.enabled) return { kind: 'disabled' }
  if (live.breaker.state === 'half_open' && live.breaker.probing) return { kind: 'probing' }
  const at = Math.max(dueAt, live.pausedUntil, live.breaker.state === 'open' ? live.breaker.until : 0)
  return at > now ? { kind: 'at', at } : { kind: 'now' }
}

/** The severity that is shown with an entry: of its most urgent alert. */
export function severityOfEntry({ alerts }: Pick<Entry, 'alerts'>): string | undefined {
  const [worst] = alerts.map(({ alert }) => alert).sort((a, b) => gravityOf(b) - gravityOf(a))
  return worst && severityOf(worst)
}
