import type { Alert, Notification } from '../alert.js'
import { type HealthStatus, statusNow } from '../health/state.js'
import type { Fields } from '../queues/contract.js'
import { permits } from './breaker.js'
import { fieldsWithin, laneId, laneOf, perGroup, slotOf, standsForGroup, stateField } from './entry.js'
import type { HeldBack } from './job.js'
import { isOwedResolve, unpackState } from './lifecycle.js'
import type { LiveTarget } from './live.js'
import type { EffectiveOptions } from './options.js'
import type { Roster } from './roster.js'

export const scopes = ['named', 'all', 'healthy'] as const
/** Which route was asked: the named targets, all, or the healthy ones. */
export type Scope = (typeof scopes)[number]

export const skipReasons = [
  'disabled',
  'unhealthy',
  'degraded',
  'circuit_open',
  'filtered',
  'resolved_not_wanted'
] as const
export type SkipReason = (typeof skipReasons)[number]

/** What is to happen with one target of a publish. */
export type Choice =
  | { readonly kind: 'unknown'; readonly name: string }
  /** Nothing goes, and nothing is owed. */
  | { readonly kind: 'skip'; readonly live: LiveTarget; readonly reason: SkipReason }
  /** These alerts go; `heldBack`: not now, they are owed. `reason`: it is told as skipped for that nonetheless. */
  | {
      readonly kind: 'send'
      readonly live: LiveTarget
      readonly alerts: readonly Alert[]
      readonly heldBack?: HeldBack | undefined
      readonly reason?: SkipReason | undefined
      /** Those that go only if the target is owed them, as it turns out once their lanes are their own. */
      readonly ifOwed?: ReadonlySet<Alert> | undefined
      /** Firing alerts that it would get as well, were it not left out: its group is not over. */
      readonly stillFiring?: number | undefined
    }

export interface Selection {
  readonly scope: Scope
  /** Required for `named`, narrows the others. */
  readonly names?: readonly string[] | undefined
  /** Filters let everything through. */
  readonly unfiltered?: boolean | undefined
  /** Whoever asks why a target gets nothing is told of disabled ones as well, which `all` and `healthy` pass over. */
  readonly tellDisabled?: boolean | undefined
  readonly options: EffectiveOptions
  readonly now: number
  readonly healthIntervalMs: number
  /** What is recorded of the notification's alerts, in their order. */
  readonly records: readonly (Fields | undefined)[]
  /** Lanes that other processes have, as far as that was asked. */
  readonly taken?: ReadonlySet<string> | undefined
}

/** The targets that a publish concerns, each once: in the order in which they were named, or by name. */
export function choose(notification: Notification, roster: Roster, selection: Selection): Choice[] {
  const { scope, names } = selection
  const choices: Choice[] = []
  const add = (choice: Choice): void => {
    if (isTold(choice, selection)) choices.push(choice)
  }
  if (names || scope === 'named') {
    for (const name of new Set(names)) {
      const live = roster.get(name)
      add(live ? choiceOf(live, notification, selection) : { kind: 'unknown', name })
    }
  } else for (const live of roster.all()) add(choiceOf(live, notification, selection))
  return choices
}

/** Disabled targets take no part where nobody names them, but for the resolves that they are owed. */
export function isTold(choice: Choice, { scope, tellDisabled }: Selection): boolean {
  return scope === 'named' || tellDisabled === true || choice.kind !== 'skip' || choice.reason !== 'disabled'
}

function choiceOf(live: LiveTarget, notification: Notification, selection: Selection): Choice {
  const { scope, options, now } = selection
  const { target } = live
  if (!target.settings.enabled) return owedOnly(live, notification, selection, 'disabled')
  const { alerts, ifOwed } = passingOf(live, notification, selection)
  if (alerts.length === 0) return { kind: 'skip', live, reason: 'filtered' }
  const left =
    leftOut(healthOf(live, selection), options, scope) ??
    (options.respectCircuitBreakers && !permits(live.breaker, now) ? 'circuit_open' : undefined)
  if (left && scope === 'healthy') return owedOnly(live, notification, selection, left)
  return { kind: 'send', live, alerts, ifOwed, heldBack: left, reason: left, stillFiring: undefined }
}

/** Whether the health strategy leaves out a target of that status. What is unknown passes. */
export function leftOut(
  status: HealthStatus,
  options: Pick<EffectiveOptions, 'checkHealth' | 'healthStrategy'>,
  scope: Scope
): 'unhealthy' | 'degraded' | undefined {
  if (!asksHealth(options, scope)) return undefined
  if (status === 'unhealthy') return 'unhealthy'
  return status === 'degraded' && options.healthStrategy === 'skip_unhealthy_and_degraded' ? 'degraded' : undefined
}

/** Whether health decides who is tried now. */
function asksHealth(options: Pick<EffectiveOptions, 'checkHealth' | 'healthStrategy'>, scope: Scope): boolean {
  if (scope === 'all' || (scope === 'named' && !options.checkHealth)) return false
  return options.healthStrategy !== 'publish_to_all'
}

/** Names of the targets that are tried although health was to decide and nothing is known of theirs. */
export function passedUnknown(choices: readonly Choice[], selection: Selection): string[] {
  if (!asksHealth(selection.options, selection.scope)) return []
  return choices.flatMap(choice =>
    choice.kind === 'send' && !choice.heldBack && healthOf(choice.live, selection) === 'unknown' ? choice.live.name : []
  )
}

function healthOf({ health }: LiveTarget, { now, healthIntervalMs }: Selection): HealthStatus {
  return statusNow(health, now, { intervalMs: healthIntervalMs })
}

type Passing = Pick<Choice & { kind: 'send' }, 'alerts' | 'ifOwed'>

/** The alerts that the filter lets through, and the resolves that the target is owed whatever the filter says. */
function passingOf(live: LiveTarget, notification: Notification, selection: Selection): Passing {
  const { alerts } = notification
  if (selection.unfiltered) return { alerts, ifOwed: undefined }
  // Most filters let all through or nothing: only what differs is listed anew.
  let passing: Alert[] | undefined
  let ifOwed: Set<Alert> | undefined
  for (let index = 0; index < alerts.length; index++) {
    const alert = alerts[index]!
    if (!live.target.accepts(alert)) {
      passing ??= alerts.slice(0, index)
      if (!mayOwe(live, notification, index, selection)) continue
      ifOwed ??= new Set()
      ifOwed.add(alert)
    }
    passing?.push(alert)
  }
  return { alerts: passing ?? alerts, ifOwed }
}

/** A target that is left out still gets the resolves that it is owed; through the queue if it is disabled. */
function owedOnly(live: LiveTarget, notification: Notification, selection: Selection, reason: SkipReason): Choice {
  const alerts = notification.alerts.filter((_, index) => mayOwe(live, notification, index, selection))
  if (alerts.length === 0) return { kind: 'skip', live, reason }
  const fires = (alert: Alert): boolean =>
    alert.status === 'firing' && (selection.unfiltered === true || live.target.accepts(alert))
  const stillFiring = standsForGroup(live.target) ? notification.alerts.filter(fires).length : 0
  return {
    kind: 'send',
    live,
    alerts,
    ifOwed: new Set(alerts),
    stillFiring,
    reason,
    heldBack: reason === 'degraded' ? 'degraded' : reason === 'circuit_open' ? 'circuit_open' : 'unhealthy'
  }
}

/** Whoever has the alert's lane may come to have the firing: that is known once its attempt has ended. */
function mayOwe(live: LiveTarget, notification: Notification, index: number, selection: Selection): boolean {
  const { status, fingerprint } = notification.alerts[index]!
  if (status !== 'resolved') return false
  const record = selection.records[index]
  const { target, name } = live
  const { peers } = target.wire
  if (!peers) {
    const per_group = perGroup(target)
    const slot = per_group ? slotOf(target, { key: '', alerts: notification.alerts }, notification) : ''
    const field = stateField({ target: name, slot, per_group })
    return isTaken(live, fingerprint, selection) || isOwedResolve(unpackState(record?.[field]))
  }
  if (peers.some(peer => isTaken(live, laneOf(peer, fingerprint), selection))) return true
  // A peer may have left, or go by another address by now: who gets its resolve is one that is here all the same.
  const ofPeers = fieldsWithin(name)
  for (const field in record) if (field.startsWith(ofPeers) && isOwedResolve(unpackState(record[field]))) return true
  return false
}

function isTaken(live: LiveTarget, lane: string, { taken }: Selection): boolean {
  return live.lanes.has(lane) || taken?.has(laneId(live.name, lane)) === true
}
