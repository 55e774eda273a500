import type { Alert, Notification } from '../alert.js'
import { type Store, StoreUnavailable } from '../queues/contract.js'
import { readAlerts } from './admission.js'
import { laneId, laneOf } from './entry.js'
import type { LiveTarget } from './live.js'
import type { Roster } from './roster.js'
import { type Choice, choose, isTold, type Selection } from './select.js'

/** Lanes that are asked for in one go. */
const askedAtOnce = 2_000

/**
 * Chooses as `choose` does, also where other processes deliver: of a firing that one of them has under way nothing is on
 * record yet, and its resolve must find it nonetheless. So before a target is left without a resolve it is asked who has
 * the lane, and read once more what is on record: whoever had left the lane by then has said what came of the firing.
 */
export function chooseAmongAll(
  store: Store,
  notification: Notification,
  { roster, selection }: { readonly roster: Roster; readonly selection: Selection }
): Choice[] | Promise<Choice[]> {
  return store.taken ? asking(store, notification, roster, selection) : choose(notification, roster, selection)
}

async function asking(
  store: Store,
  notification: Notification,
  roster: Roster,
  selection: Selection
): Promise<Choice[]> {
  const taken = new Set<string>()
  const asked = new Set<LiveTarget>()
  let { records } = selection
  for (;;) {
    const choices = choose(notification, roster, { ...selection, records, taken, tellDisabled: true })
    // Health may turn, and an attempt of this process may end, while others are asked: then there is more to ask.
    const left = leavingOut(choices, notification).filter(live => !asked.has(live))
    if (left.length === 0) return choices.filter(choice => isTold(choice, selection))
    for (const live of left) asked.add(live)
    try {
      for (const lanes of inSlices(left, notification)) for (const lane of await store.taken!(lanes)) taken.add(lane)
      records = await readAlerts(store, notification)
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
    }
  }
}

/** The targets that do not get every resolve of the notification. */
export function leavingOut(choices: readonly Choice[], { alerts }: Notification): LiveTarget[] {
  const all = resolvesIn(alerts)
  if (all === 0) return []
  return choices.flatMap(choice => {
    if (choice.kind === 'unknown') return []
    if (choice.kind === 'send' && (choice.alerts === alerts || resolvesIn(choice.alerts) === all)) return []
    return choice.live
  })
}

function resolvesIn(alerts: readonly Alert[]): number {
  let count = 0
  for (const { status } of alerts) if (status === 'resolved') count++
  return count
}

/** Of a target that is one. */
const noPeers = [undefined]

/** The lanes of all resolves at these targets. */
function* inSlices(targets: readonly LiveTarget[], { alerts }: Notification): Generator<string[]> {
  let slice: string[] = []
  for (const { name, target } of targets) {
    for (const peer of target.wire.peers ?? noPeers) {
      for (const { status, fingerprint } of alerts) {
        if (status !== 'resolved') continue
        slice.push(laneId(name, laneOf(peer, fingerprint)))
        if (slice.length < askedAtOnce) continue
        yield slice
        slice = []
      }
    }
  }
  if (slice.length > 0) yield slice
}
