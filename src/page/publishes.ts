import type { DeliveryView } from '../routes/deliveries.js'

/** How a publish went at one target. */
export interface Outcome {
  readonly target: string
  /** Of its parts, the one that needs most attention. */
  readonly state: DeliveryView['state']
  readonly parts: number
  /** Parts in that state. */
  readonly inState: number
  readonly attempts: number
  /** From acceptance to the end of the last part; undefined while owed. */
  readonly tookMs: number | undefined
  readonly error: string | undefined
}

/** One notification, and how it went at each of its targets. */
export interface PublishSummary {
  readonly id: string
  readonly at: number
  readonly alertName: string
  readonly alertStatus: DeliveryView['alert_status']
  readonly alerts: number
  /** By name of the target. */
  readonly outcomes: readonly Outcome[]
}

const mostPublishes = 15
const worstFirst: readonly DeliveryView['state'][] = ['failed', 'refused', 'queued', 'delivered', 'nothing']

/** Deliveries, newest first, by the publish that they belong to. `more`: the last publish may not be whole. */
export function groupByPublish(deliveries: readonly DeliveryView[], more: boolean): PublishSummary[] {
  const byPublish = new Map<string, DeliveryView[]>()
  for (const delivery of deliveries) {
    const same = byPublish.get(delivery.publish_id)
    if (same) same.push(delivery)
    else byPublish.set(delivery.publish_id, [delivery])
  }
  if (more && byPublish.size > 1) byPublish.delete([...byPublish.keys()].at(-1)!)
  return [...byPublish].slice(0, mostPublishes).map(([id, parts]) => summaryOf(id, parts))
}

function summaryOf(id: string, deliveries: readonly DeliveryView[]): PublishSummary {
  const byTarget = new Map<string, DeliveryView[]>()
  for (const delivery of deliveries) byTarget.set(delivery.target, [...(byTarget.get(delivery.target) ?? []), delivery])
  // A per-alert type logs each alert by itself, so the notification's size is seen where one request carries it all.
  const widest = deliveries.reduce((a, b) => (b.alert_count > a.alert_count ? b : a))
  return {
    id,
    at: Math.min(...deliveries.map(({ accepted_at }) => Date.parse(accepted_at))),
    alertName: widest.alert_name,
    alertStatus: deliveries.some(each => each.alert_status === 'firing') ? 'firing' : 'resolved',
    alerts: Math.max(widest.alert_count, ...[...byTarget.values()].map(alertsIn)),
    outcomes: [...byTarget.keys()].sort().map(target => outcomeOf(target, byTarget.get(target)!))
  }
}

const alertsIn = (parts: readonly DeliveryView[]): number =>
  new Set(parts.flatMap(({ fingerprints }) => fingerprints)).size

function outcomeOf(target: string, parts: readonly DeliveryView[]): Outcome {
  const state = worstFirst.find(each => parts.some(part => part.state === each))!
  const those = parts.filter(part => part.state === state)
  const times = those.flatMap(part =>
    part.finished_at === null ? [] : [Date.parse(part.finished_at) - Date.parse(part.accepted_at)]
  )
  return {
    target,
    state,
    parts: parts.length,
    inState: those.length,
    attempts: Math.max(...those.map(({ attempts }) => attempts.length)),
    tookMs: times.length === 0 ? undefined : Math.max(...times),
    error: those.find(({ error }) => error !== undefined)?.error
  }
}
