import { adviceOn } from './advice.js'
import type { PageState } from './state.js'
import type { Next, Waiting } from './waiting.js'
import { ago, counted, sentence, span, took } from './words.js'

/** `lost`: something does not arrive unless a person acts. `late`: it will, later. `note`: nothing is missing. */
export type Weight = 'lost' | 'late' | 'note'

/** One thing that is not as it should be. */
export interface Finding {
  readonly weight: Weight
  /** What and why, without a full stop; the same for as long as nothing changes. */
  readonly what: string
  /** What changes by the second, such as when the next try is. */
  readonly when?: string
  readonly advice?: string
  /** The part of the page that says more. */
  readonly at?: 'owed' | 'given-up' | 'targets'
}

export interface Headline {
  readonly tone: 'fine' | 'late' | 'lost'
  /** The answer to: is everything delivered? */
  readonly first: Finding
  /** What else there is, the worst first. */
  readonly others: readonly Finding[]
}

/** A critical alert that is owed for longer than this is not merely late. */
const criticalPatienceMs = 60_000
/** Findings of one sort that are told one by one. */
const mostOfOneSort = 5

/** The page's first words. */
export function headlineOf(state: PageState): Headline {
  const findings = [
    ...service(state),
    ...owed(state),
    ...givenUp(state),
    ...unkept(state),
    ...unheard(state),
    ...notes(state)
  ]
  const weights: readonly Weight[] = ['lost', 'late', 'note']
  findings.sort((a, b) => weights.indexOf(a.weight) - weights.indexOf(b.weight))
  const worst = findings[0]
  if (!worst || worst.weight === 'note') return { tone: 'fine', first: fine(state), others: findings }
  return { tone: worst.weight === 'lost' ? 'lost' : 'late', first: worst, others: findings.slice(1) }
}

/** The second sentence: what has been going on. */
export function recentlyOf({ now, startedAt, statistics, publishes, underWay }: PageState): string {
  const { publish, delivery } = statistics
  const last = publishes[0]
  const sentences = [
    publish.total === 0
      ? `No notification has come in since the start ${ago(startedAt, now)}.`
      : `${counted(publish.total, 'notification')} in the last ${span(statistics.seconds * 1000)}${last ? `, the newest ${ago(last.at, now)}` : ''}.`,
    delivery.end_to_end_ms.count > 0 &&
      `Half arrive within ${took(delivery.end_to_end_ms.p50)}, 99 % within ${took(delivery.end_to_end_ms.p99)}.`,
    underWay > 0 && `${counted(underWay, 'delivery is', 'deliveries are')} under way.`
  ]
  return sentences.filter(Boolean).join(' ')
}

function fine({ statistics, publishes, unreached }: PageState): Finding {
  const nothing = (statistics.publish.total === 0 && publishes.length === 0) || unreached !== undefined
  return { weight: 'note', what: nothing ? 'Nothing is waiting to be delivered' : 'Everything is delivered' }
}

function* service({ readiness, store, mode, discovery }: PageState): Generator<Finding> {
  if (readiness === 'starting') {
    yield {
      weight: 'lost',
      what: `The targets are not known yet${discovery.lastError === undefined ? '' : `: ${discovery.lastError}`}`,
      advice: 'New alerts are refused until they are, so that their sender keeps them and tries again.'
    }
  }
  if (readiness === 'draining') {
    yield {
      weight: 'late',
      what: 'This process is shutting down',
      advice: 'New alerts are refused: their sender tries again.'
    }
  }
  if (!store.available) {
    yield {
      weight: 'lost',
      what: `The ${store.backend} queue cannot be reached or written`,
      advice: `What a target does not take at once is refused, so that its sender tries again. Look at ${store.backend === 'redis' ? 'Redis' : 'the queue’s disk'}.`
    }
  }
  if (store.unwritten > 0) {
    yield {
      weight: 'late',
      what: `${counted(store.unwritten, 'outcome is', 'outcomes are')} not written to the queue yet`,
      advice: 'They are kept in memory and written as soon as that works.'
    }
  }
  if (readiness !== 'starting' && mode.mode === 'metrics-only') {
    yield {
      weight: 'lost',
      what: 'Nothing is delivered: no target is enabled',
      advice: 'Add a target or enable one. Until then publishes are refused, so that their sender tries again.',
      at: 'targets'
    }
  }
}

function* owed({ waiting, now }: PageState): Generator<Finding> {
  if (waiting.length > 1) {
    const count = waiting.reduce((sum, each) => sum + each.count, 0)
    const oldest = Math.min(...waiting.map(each => each.oldestAt))
    yield {
      weight: waiting.some(each => isLost(each, now)) ? 'lost' : 'late',
      what: `${counted(count, 'notification is', 'notifications are')} owed to ${waiting.length} targets`,
      when: `the oldest for ${span(now - oldest)}`,
      at: 'owed'
    }
  }
  for (const each of waiting.slice(0, mostOfOneSort)) {
    const amount =
      each.alerts === undefined
        ? counted(each.count, 'notification is', 'notifications are')
        : counted(each.alerts, 'alert is', 'alerts are')
    yield {
      weight: isLost(each, now) ? 'lost' : 'late',
      what: `${amount} owed to ${each.target}: ${each.why}`,
      when: nextWords(each.next, now),
      advice: adviceOn(each.reason)?.advice ?? 'It goes out by itself.',
      at: 'owed'
    }
  }
}

function isLost({ oldestCriticalAt, next }: Waiting, now: number): boolean {
  if (next.kind === 'gone' || next.kind === 'disabled') return true
  return oldestCriticalAt !== undefined && now - oldestCriticalAt > criticalPatienceMs
}

/** When the next try is, without a full stop. */
export function nextWords(next: Next, now: number): string {
  switch (next.kind) {
    case 'at':
      return `next try in ${span(next.at - now)}`
    case 'now':
      return 'being tried now'
    case 'probing':
      return 'a probe is under way'
    case 'disabled':
      return 'it waits until the target is enabled'
    case 'gone':
      return 'it is given up after 15 min unless the target comes back'
  }
}

function* givenUp({ letters, now }: PageState): Generator<Finding> {
  for (const { target, message, reason, count, alerts, newestAt } of letters.groups.slice(0, mostOfOneSort)) {
    const amount =
      alerts === undefined
        ? counted(count, 'notification was', 'notifications were')
        : counted(alerts, 'alert was', 'alerts were')
    yield {
      weight: 'lost',
      what: `${amount} given up for ${target}: ${message}`,
      when: `last ${ago(newestAt, now)}`,
      advice: adviceOn(reason)?.advice ?? 'Mend the cause, then replay or discard.',
      at: 'given-up'
    }
  }
}

function* unkept({ unowned, store }: PageState): Generator<Finding> {
  for (const { target, error } of unowned.slice(0, mostOfOneSort)) {
    yield {
      weight: 'lost',
      what: `${target} did not take the last alert, and nobody keeps it: ${error}`,
      advice: `Its sender was told to try again.${store.durable ? '' : ' With QUEUE=off nothing is kept here.'}`,
      at: 'targets'
    }
  }
}

/** What reached nobody without being owed or given up: left out by health, or by every filter. */
function* unheard({ unreached, undelivered, waiting, unowned, now }: PageState): Generator<Finding> {
  const { count, oldestAgeMs } = undelivered
  const isTold = waiting.some(({ oldestCriticalAt }) => oldestCriticalAt !== undefined)
  if (oldestAgeMs > criticalPatienceMs && !isTold) {
    yield {
      weight: 'lost',
      what: `${counted(count, 'critical alert has', 'critical alerts have')} reached no target that people read`,
      when: `the oldest for ${span(oldestAgeMs)}`,
      advice: 'Look at the health and the filters of the targets that people read.',
      at: 'targets'
    }
  }
  if (unreached && unowned.length === 0) {
    yield {
      weight: unreached.refused ? 'lost' : 'note',
      what: 'The newest notification reached nobody',
      when: ago(unreached.at, now),
      advice: unreached.refused
        ? 'Its sender was told to try again.'
        : 'No enabled target’s filter lets it through, or none wants what has resolved.',
      at: 'targets'
    }
  }
}

function* notes({ targets, waiting, invalid, store, discovery }: PageState): Generator<Finding> {
  const owedTo = new Set(waiting.map(({ target }) => target))
  const troubled = targets.filter(
    ({ name, enabled, health, circuit }) =>
      enabled && !owedTo.has(name) && (health.status === 'unhealthy' || circuit.state !== 'closed')
  )
  for (const { name, health, circuit } of troubled.slice(0, mostOfOneSort)) {
    const open = circuit.state !== 'closed'
    const reason = adviceOn((open ? circuit.reason : health.error_reason) ?? undefined)
    yield {
      weight: 'note',
      what: `${name} ${open ? 'has an open circuit' : 'is unhealthy'}${reason ? ` (${reason.short})` : ''}`,
      advice: 'What it misses now is kept for it, but for what goes to the healthy ones alone.',
      at: 'targets'
    }
  }
  if (troubled.length > mostOfOneSort)
    yield { weight: 'note', what: `${troubled.length - mostOfOneSort} more targets are in trouble`, at: 'targets' }
  for (const { source, name, stale, problems } of invalid.slice(0, mostOfOneSort)) {
    const problem = problems[0]
    yield {
      weight: 'note',
      what: `${name ? `${name} in ${source}` : source} is not valid${problem ? `: ${problem.field} ${problem.message}` : ''}`,
      advice: `${stale ? 'Its last valid version stays in use.' : 'It gets no alerts.'}${problem ? ` ${sentence(problem.suggestion)}.` : ''}`
    }
  }
  if (invalid.length > mostOfOneSort)
    yield { weight: 'note', what: `${invalid.length - mostOfOneSort} more target definitions are not valid` }
  if (discovery.lastError !== undefined && discovery.lastSuccess !== undefined)
    yield { weight: 'note', what: discovery.lastError, advice: 'The last known targets stay in use.' }
  for (const warning of store.warnings) yield { weight: 'note', what: warning }
}
