import type { Invalid } from '../discovery/contract.js'
import type { Mode } from '../mode.js'
import type { StoreStatus } from '../queues/contract.js'
import type { DeliveryRoutes, DeliveryView } from '../routes/deliveries.js'
import type { StatisticsRoutes } from '../routes/statistics.js'
import type { DiscoveryStatus, Readiness, StatusRoutes } from '../routes/status.js'
import { type TargetView, targetView } from '../routes/targets.js'
import type { Statistics, Unreached } from '../statistics.js'
import type { Letters } from './letters.js'
import { groupByPublish, type PublishSummary } from './publishes.js'
import { readWaiting, type Waiting } from './waiting.js'

export interface StateDeps {
  readonly status: StatusRoutes
  letters(): Promise<Letters>
  readonly deliveries: Pick<DeliveryRoutes, 'list'>
  readonly statistics: StatisticsRoutes
}

/** A target that is not taking alerts while nobody keeps them for it. */
export interface Unowned {
  readonly target: string
  readonly error: string
}

/** All that the status page tells, at one moment. */
export interface PageState {
  /** Milliseconds since the epoch, as are all times. */
  readonly now: number
  readonly version: string
  readonly startedAt: number
  readonly readiness: Readiness
  readonly mode: Mode
  readonly discovery: DiscoveryStatus
  readonly invalid: readonly Invalid[]
  readonly targets: readonly TargetView[]
  readonly store: StoreStatus & { readonly durable: boolean }
  readonly waiting: readonly Waiting[]
  readonly letters: Letters
  readonly unowned: readonly Unowned[]
  readonly publishes: readonly PublishSummary[]
  readonly underWay: number
  readonly statistics: Statistics
  readonly unreached: Unreached | undefined
  readonly undelivered: { readonly count: number; readonly oldestAgeMs: number }
}

/** Deliveries that are looked at for the recent publishes. */
const mostDeliveries = 300

export async function readState({
  status,
  letters: readLetters,
  deliveries,
  statistics
}: StateDeps): Promise<PageState> {
  const { store, roster } = status
  const now = status.now()
  const log = deliveries.list({ limit: mostDeliveries })
  const [storeStatus, waiting, letters] = await Promise.all([
    store.status(),
    // A store that is away is told by its status; all else can still be shown.
    readWaiting(store, roster, now).catch(() => []),
    readLetters().catch(() => ({ groups: [], countedAt: now }))
  ])
  return {
    now,
    version: status.version,
    startedAt: status.startedAt,
    readiness: status.readiness(),
    mode: statistics.mode.view(),
    discovery: status.discovery(),
    invalid: roster.invalid(),
    targets: roster.all().map(live => targetView(live, now, status.healthRules)),
    store: { ...storeStatus, durable: store.durable },
    waiting,
    letters,
    unowned: unownedIn(log.items),
    publishes: groupByPublish(log.items, log.next_cursor !== null),
    underWay: status.inFlight().deliveries,
    statistics: statistics.statistics.snapshot(),
    unreached: statistics.statistics.unreached(),
    undelivered: status.undelivered()
  }
}

/** Targets whose last delivery nobody could keep. */
function unownedIn(newestFirst: readonly DeliveryView[]): Unowned[] {
  const last = new Map<string, DeliveryView>()
  for (const delivery of newestFirst) if (!last.has(delivery.target)) last.set(delivery.target, delivery)
  return [...last.values()].flatMap(({ target, state, error }) =>
    state === 'failed' ? [{ target, error: error ?? 'it could not be reached' }] : []
  )
}
