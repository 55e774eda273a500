import type { Logger } from 'pino'
import type { Accepted } from './pipeline/accept.js'
import type { DeliveryEvents } from './pipeline/deliver.js'
import type { OwedEvents } from './pipeline/owed.js'
import type { PublishEvents } from './pipeline/publish.js'
import type { PublishResult, Verdict } from './pipeline/result.js'
import type { RosterEvents } from './pipeline/roster.js'
import { sentenceOf } from './schema.js'

/** One line per publish at the level that it deserves, and one per target at debug. */
export function publishLog(log: Logger): PublishEvents & Pick<DeliveryEvents, 'circuit'> {
  return {
    published(result, verdict, accepted) {
      const level = levelOf(result, verdict)
      if (log.isLevelEnabled(level)) log[level](fieldsOf(result, verdict, accepted), messages[level])
      if (log.isLevelEnabled('debug'))
        for (const target of result.results) log.debug({ publish_id: result.publish_id, ...target }, 'target')
    },
    cancelled: () => log.info({ code: 'PUBLISH_CANCELLED' }, 'the caller hung up before anything was started'),
    warn: (message, fields) => log.warn(fields, message),
    circuit: (live, before) =>
      log.warn(
        {
          target: live.name,
          from: before.state,
          to: live.breaker.state,
          reason: 'reason' in live.breaker ? live.breaker.reason : undefined
        },
        'circuit changed'
      )
  }
}

/** What takes log lines to where they are kept: pino's destination, or some of it. */
interface Destination {
  write(text: string): unknown
  flushSync(): void
}

export interface LogLines {
  write(line: string): void
  /** Passes on what was gathered. */
  flush(): void
  /** Passes it on before the process ends. */
  end(): void
}

/** Lines that are passed on together: a write for each, or a search for the end of all so far, would cost more than the line. */
export function gatherLines(destination: Destination, together = 32): LogLines {
  let lines: string[] = []
  const flush = (): void => {
    if (lines.length === 0) return
    const text = lines.join('')
    lines = []
    destination.write(text)
  }
  return {
    write(line) {
      if (lines.push(line) >= together) flush()
    },
    flush,
    end() {
      flush()
      destination.flushSync()
    }
  }
}

export interface DeadLetterLog extends Pick<OwedEvents, 'buried'> {
  /** Logs what was only counted so far, without waiting for its second to end. */
  flush(): void
}

/** Dead letters of one target and reason that get a line of their own in each second. */
const ownLines = 10

/** One line per dead letter. Of a storm the first ones are told; the others are counted, one line per target and second. */
export function deadLetterLog(log: Logger): DeadLetterLog {
  const counts = new Map<string, { target: string; reason: string; count: number }>()
  let timer: NodeJS.Timeout | undefined

  const flush = (): void => {
    clearTimeout(timer)
    timer = undefined
    for (const { target, reason, count } of counts.values())
      if (count > ownLines) log.warn({ target, reason, count: count - ownLines }, 'given up: more dead letters')
    counts.clear()
  }
  return {
    flush,
    buried({ id, target, failure: { reason } }) {
      const key = `${target} ${reason}`
      const counted = counts.get(key) ?? { target, reason, count: 0 }
      counts.set(key, counted)
      if (++counted.count <= ownLines) log.warn({ target, delivery_id: id, reason }, 'given up: a dead letter')
      timer ??= setTimeout(flush, 1_000).unref()
    }
  }
}

/** One line for each target definition that is not valid, as soon as it is not and again only once it says something else. */
export function rosterLog(log: Logger): Pick<RosterEvents, 'applied'> {
  let told = new Set<string>()
  return {
    applied({ invalid }) {
      const before = told
      told = new Set()
      for (const { source, name, problems, stale } of invalid) {
        const problem = problems.map(sentenceOf).join('; ')
        const line = `${source} ${name} ${problem}`
        told.add(line)
        if (!before.has(line))
          log.warn(
            { source, target: name, problem },
            stale ? 'a target is not valid: its last valid version stays in use' : 'a target is not valid'
          )
      }
      if (before.size > 0 && told.size === 0) log.info('all targets are valid again')
    }
  }
}

const messages = {
  info: 'published',
  warn: 'not every target has it',
  error: 'publish failed and nothing is owed'
}

function levelOf(result: PublishResult, verdict: Verdict): 'info' | 'warn' | 'error' {
  if (result.all_succeeded) return 'info'
  const lost = !result.success && result.queued_count === 0
  return lost && verdict.status >= 500 ? 'error' : 'warn'
}

/** What is undefined is not written. */
function fieldsOf(result: PublishResult, verdict: Verdict, { notification: { alerts } }: Accepted) {
  return {
    publish_id: result.publish_id,
    alert_fingerprint: alerts.length === 1 ? alerts[0]!.fingerprint : undefined,
    alert_count: alerts.length === 1 ? undefined : alerts.length,
    status: verdict.status,
    code: 'code' in verdict ? verdict.code : undefined,
    total_targets: result.total_targets,
    success_count: result.success_count,
    failure_count: result.failure_count,
    skipped_count: result.skipped_count,
    queued_count: result.queued_count,
    duration_ms: result.duration_ms,
    is_partial_success: result.is_partial_success
  }
}
