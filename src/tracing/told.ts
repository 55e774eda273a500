import type { Attributes } from '@opentelemetry/api'
import type { Attempted } from '../pipeline/attempt.js'
import { type FailureShown, type Job, type PartResult, untouched } from '../pipeline/job.js'
import type { Published } from '../pipeline/publish.js'

/** What a span tells at its end; `failed`: its status is an error, for this reason. */
export interface Told {
  readonly attributes: Attributes
  readonly failed?: string | undefined
}

/** It threw: a bug. */
export const brokenOff: Told = { attributes: {}, failed: 'internal' }

/** In the words of the log. */
export function publishTold(published: Published): Told {
  if (published.kind === 'cancelled') return { attributes: { code: 'PUBLISH_CANCELLED' } }
  if (published.kind === 'no_enabled_targets') {
    return { attributes: { status_code: 503, code: 'NO_ENABLED_TARGETS' }, failed: 'NO_ENABLED_TARGETS' }
  }
  const { result, verdict } = published
  const code = 'code' in verdict ? verdict.code : undefined
  const attributes = {
    publish_id: result.publish_id,
    status_code: verdict.status,
    code,
    total_targets: result.total_targets,
    success_count: result.success_count,
    failure_count: result.failure_count,
    skipped_count: result.skipped_count,
    queued_count: result.queued_count
  }
  return { attributes, failed: verdict.status >= 500 ? (code ?? String(verdict.status)) : undefined }
}

/** In the words of the delivery log. Undefined if another process was at it: that is looked at often, and nothing happens. */
export function deliveryTold({ entry }: Job, result: PartResult): Told | undefined {
  if (result === untouched) return undefined
  const { kind, attempts, statusCode } = result
  const failure = 'failure' in result ? result.failure : undefined
  const attributes = {
    // What it took over may have given it another id.
    delivery_id: entry.id,
    state: kind === 'unowned' ? 'failed' : kind,
    attempts,
    status_code: statusCode,
    deduplicated: 'recorded' in result ? result.recorded : undefined,
    held_back: 'heldBack' in result ? result.heldBack : undefined,
    step: 'step' in result ? result.step : undefined,
    ...failureTold(failure)
  }
  const isLost = kind === 'refused' || kind === 'unowned'
  return { attributes, failed: isLost ? (failure?.reason ?? kind) : undefined }
}

/** How the target took it. */
export function attemptTold({ outcome, statusCode }: Attempted): Told {
  const failure = outcome.kind === 'failed' ? outcome : undefined
  return { attributes: { status_code: statusCode, ...failureTold(failure) }, failed: failure?.reason }
}

function failureTold(failure: FailureShown | undefined): Attributes {
  return { error_type: failure?.type, error_reason: failure?.reason }
}

/** What deliveries and attempts say from their beginning. */
export function whereTo({ entry, live }: Job): Attributes {
  return {
    publish_id: entry.publish_id,
    target_name: live.name,
    target_type: live.type,
    alert_count: entry.alerts.length
  }
}
