import { type Alert, commonOf, type Notification } from '../alert.js'
import { mapped } from '../mapped.js'
import { attemptsKept, type Entry, mayHave, newestSeq, notificationOf } from './entry.js'
import type { Job } from './job.js'
import { isUnheard, merge, type Reader, type Sequenced, type Step, stepOf, type TargetState } from './lifecycle.js'

/** Whether the target is told something of the alert. */
export const tells = (step: Step): boolean => step === 'send' || step === 'fired_and_resolved'

/** Whether it is told nothing, and waits for nothing of the alert any more. */
export const isSettled = (step: Step): boolean => step === 'superseded' || step === 'resolved_not_wanted'

/**
 * What waits in one slot becomes one request as long as it is so many alerts at most: a group whose alerts come and go
 * during a long outage would otherwise grow into one that no target takes, written anew with every notification.
 */
export const mostMerged = 1_000

/** Whether an entry is just what was read of it before its lanes were taken. */
export function isSame(stands: Entry, read: Entry): boolean {
  return (
    stands.tries === read.tries &&
    stands.due_at === read.due_at &&
    stands.base === read.base &&
    stands.alerts.length === read.alerts.length
  )
}

export const alertsOf = (alerts: readonly Sequenced[]): Alert[] => mapped(alerts, ({ alert }) => alert)

export interface Plan {
  /** For each of the entry's alerts. */
  readonly steps: readonly Step[]
  /** How many of them the target is told. */
  readonly telling: number
  /** All that are told fired and resolved unheard. */
  readonly firedAndResolved: boolean
}

/** `ended`: which of the alerts are known to have ended since they were accepted, if any. */
export function plan(
  job: Job,
  states: readonly (TargetState | undefined)[],
  ended: readonly boolean[] | undefined
): Plan {
  const reader = readerOf(job)
  let telling = 0
  let firedAndResolved = true
  const steps = mapped(job.entry.alerts, (item, index) => {
    const over = ended?.[index] === true && isUnheard(item, states[index], reader)
    const step = over ? 'ended' : stepOf(item, states[index], reader)
    if (tells(step)) telling++
    if (step === 'send') firedAndResolved = false
    return step
  })
  return { steps, telling, firedAndResolved }
}

function readerOf({ live, entry }: Job): Reader {
  const { kind, settings } = live.target
  return { audience: kind.audience, sendResolved: settings.send_resolved, mayHave: entry.may_have }
}

/** Whether the target is told every alert just as it came; the answer of nearly every live delivery, without a plan. */
export function goesWhole(job: Job, states: readonly (TargetState | undefined)[]): boolean {
  const { alerts } = job.entry
  for (let index = 0; index < alerts.length; index++) {
    // A firing that the target has nothing of needs no rule.
    if (states[index] === undefined && alerts[index]!.alert.status === 'firing') continue
    if (stepOf(alerts[index]!, states[index], readerOf(job)) !== 'send') return false
  }
  return true
}

/**
 * Leaves only the alerts in the job that the target is told. Those of the others that still fire are counted as ones that
 * the notification does not list: a group is not over while some of it fires.
 */
export function narrow(job: Job, steps: readonly Step[], stillFiring: number): void {
  const { entry } = job
  entry.alerts = entry.alerts.filter((_, index) => tells(steps[index]!))
  entry.body = undefined
  entry.content = undefined
  job.notification = unlisting(regrouped(job.notification, alertsOf(entry.alerts)), stillFiring)
  job.entry = { ...entry, group: unlisting(entry.group, stillFiring) }
}

/** The same with more alerts that it does not list. */
export function unlisting<Group extends Pick<Notification, 'truncated_alerts'>>(group: Group, more: number): Group {
  return more === 0 ? group : { ...group, truncated_alerts: group.truncated_alerts + more }
}

/** The notification with other alerts, and what these have in common. */
function regrouped(notification: Notification, alerts: readonly Alert[]): Notification {
  const common = { common_labels: commonOf(alerts, 'labels'), common_annotations: commonOf(alerts, 'annotations') }
  return { ...notification, ...common, alerts, body: undefined }
}

/** Lets the job carry what it took over: the newest state of every alert, under the id that callers already know. */
export function carry(job: Job, taken: readonly Entry[]): void {
  const own = job.entry
  const all = [own, ...taken]
  const newest = all.reduce((a, b) => (newestSeq(b) > newestSeq(a) ? b : a))
  const oldest = all.reduce((a, b) => (b.accepted_at < a.accepted_at ? b : a))
  const others = all
    .filter(entry => entry !== newest)
    .reduce<Sequenced[]>((merged, entry) => merge(entry.alerts, merged), [])
  const alerts = merge(others, newest.alerts)
  const grew = alerts.length > newest.alerts.length
  job.entry = {
    ...newest,
    id: oldest.id,
    // Whose lanes the job has.
    peer: own.peer,
    alerts,
    body: grew ? undefined : newest.body,
    content: grew ? undefined : newest.content,
    refs: distinctRefs(all),
    // What nobody replaced has waited since the oldest was accepted.
    accepted_at: alerts.some(item => oldest.alerts.includes(item)) ? oldest.accepted_at : newest.accepted_at,
    tries: Math.max(...all.map(entry => entry.tries)),
    attempts: all
      .flatMap(entry => entry.attempts)
      .sort((a, b) => a.at - b.at)
      .slice(-attemptsKept),
    may_have: all.some(mayHave),
    in_part: all.some(entry => entry.in_part) || undefined,
    running: undefined
  }
  if (grew) job.notification = regrouped(job.notification, alertsOf(alerts))
  else if (newest !== own) job.notification = notificationOf(job.entry)
}

function distinctRefs(entries: readonly Entry[]): Entry['refs'] {
  return [...new Map(entries.flatMap(entry => entry.refs).map(ref => [`${ref.round}/${ref.key}`, ref])).values()]
}
