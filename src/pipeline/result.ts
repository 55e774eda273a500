import Type, { type Static } from 'typebox'
import { errorReasons } from '../targets/contract.js'
import type { PartResult } from './job.js'
import { type Choice, type SkipReason, skipReasons } from './select.js'

export const TargetResult = Type.Object({
  target_name: Type.String(),
  target_type: Type.Optional(Type.String({ description: 'Absent for a name that no target has.' })),
  success: Type.Boolean({ description: 'The target has all of it.' }),
  skipped: Type.Boolean(),
  skip_reason: Type.Optional(Type.Enum([...skipReasons])),
  status_code: Type.Optional(Type.Integer({ description: 'The target’s last answer.' })),
  error: Type.Optional(Type.String()),
  error_type: Type.Optional(Type.Enum(['transient', 'rate_limited', 'configuration', 'permanent', 'unknown'])),
  error_reason: Type.Optional(Type.Enum([...errorReasons])),
  queued: Type.Optional(Type.Boolean({ description: 'Durably owed: it will be delivered without the caller.' })),
  delivery_id: Type.Optional(Type.String({ description: 'For GET /api/v1/deliveries/{id}.' })),
  deduplicated: Type.Optional(Type.Boolean({ description: 'Nothing was sent: it was done for an earlier request.' })),
  parts: Type.Optional(
    Type.Object(
      { total: Type.Integer(), delivered: Type.Integer(), queued: Type.Integer(), refused: Type.Integer() },
      { description: 'Where the target takes several requests.' }
    )
  ),
  attempts: Type.Integer(),
  duration_ms: Type.Number({ description: 'Milliseconds.' })
})
export type TargetResult = Static<typeof TargetResult>

export const PublishResult = Type.Object({
  publish_id: Type.String(),
  success: Type.Boolean({ description: 'At least one target has it.' }),
  is_partial_success: Type.Boolean({ description: 'Some have it, or part of it, and some failed.' }),
  all_succeeded: Type.Boolean({
    description: 'Every target has all of it; false where there is none, or one was skipped.'
  }),
  all_failed: Type.Boolean({
    description: 'No target has any of it and none was skipped; it may be owed all the same: see queued_count.'
  }),
  total_targets: Type.Integer(),
  success_count: Type.Integer(),
  failure_count: Type.Integer({
    description: 'Targets that lack some of it and were not skipped, whether they are owed it or not.'
  }),
  skipped_count: Type.Integer(),
  queued_count: Type.Integer({
    description: 'Targets that are durably owed it, or part of it; each is also one of the above.'
  }),
  success_rate: Type.Number({ description: '0..100 of all targets.' }),
  duration_ms: Type.Number({ description: 'Milliseconds.' }),
  results: Type.Array(TargetResult)
})
export type PublishResult = Static<typeof PublishResult>

/** What a result means for the answer: see `statusOf`. */
export interface Tally {
  /** Some have it. */
  readonly delivered: boolean
  /** Some are durably owed. */
  readonly queued: boolean
  /** Some refused for good. */
  readonly refused: boolean
  /** Some could be tried again, but cannot be owned. */
  readonly unowned: boolean
  /** Whatever is unowned, is so for timeouts. */
  readonly onlyTimeouts: boolean
}

export type Verdict =
  | { readonly status: 200 | 202 | 207 }
  | { readonly status: 404; readonly code: 'TARGET_NOT_FOUND' }
  | { readonly status: 502; readonly code: 'ALL_TARGETS_FAILED' }
  | { readonly status: 503; readonly code: 'QUEUE_UNAVAILABLE' | 'NO_HEALTHY_TARGETS' | 'NO_ENABLED_TARGETS' }
  | { readonly status: 504; readonly code: 'PUBLISH_TIMEOUT' }

/** The first row of the contract's table that fits. */
export function statusOf({ delivered, queued, refused, unowned, onlyTimeouts }: Tally): Verdict {
  if (unowned)
    return onlyTimeouts && !delivered && !queued && !refused
      ? { status: 504, code: 'PUBLISH_TIMEOUT' }
      : { status: 503, code: 'QUEUE_UNAVAILABLE' }
  if (delivered) return { status: queued || refused ? 207 : 200 }
  if (queued) return { status: 202 }
  return refused ? { status: 502, code: 'ALL_TARGETS_FAILED' } : { status: 200 }
}

/** One target's result out of its parts' results. */
export function targetResult(choice: Choice, parts: readonly PartResult[], durationMs: number): TargetResult {
  if (choice.kind === 'unknown') {
    return {
      target_name: choice.name,
      success: false,
      skipped: false,
      error: 'no target has this name',
      error_type: 'configuration',
      error_reason: 'target_not_found',
      attempts: 0,
      duration_ms: durationMs
    }
  }
  const { name: target_name, type: target_type } = choice.live
  const [only] = parts
  // The two most frequent ones are made in one piece: what is delivered, and what waits while its target is down.
  if (only?.kind === 'delivered' && parts.length === 1 && !only.recorded && only.statusCode !== undefined) {
    const { statusCode: status_code, attempts } = only
    return { target_name, target_type, success: true, skipped: false, status_code, attempts, duration_ms: durationMs }
  }
  if (only?.kind === 'queued' && parts.length === 1 && only.heldBack && !only.failure && !only.recorded) {
    return {
      target_name,
      target_type,
      success: false,
      skipped: true,
      skip_reason: choice.reason ?? only.heldBack,
      queued: true,
      delivery_id: only.id!,
      attempts: only.attempts,
      duration_ms: durationMs
    }
  }
  const base = { target_name, target_type }
  if (choice.kind === 'skip')
    return { ...base, success: false, skipped: true, skip_reason: choice.reason, attempts: 0, duration_ms: durationMs }
  if (parts.length === 1) return { ...base, ...single(parts[0]!, choice.reason, durationMs) }
  return { ...base, ...several(parts, choice, durationMs) }
}

type Own = Omit<TargetResult, 'target_name' | 'target_type'>

function single(part: PartResult, reason: SkipReason | undefined, durationMs: number): Own {
  const times = { attempts: part.attempts, duration_ms: durationMs }
  const status = part.statusCode === undefined ? {} : { status_code: part.statusCode }
  switch (part.kind) {
    case 'delivered':
      return { success: true, skipped: false, ...status, ...(part.recorded ? { deduplicated: true } : {}), ...times }
    case 'queued':
    case 'unowned': {
      const id = part.kind === 'queued' && part.id !== undefined ? { delivery_id: part.id } : {}
      const queued = part.kind === 'queued' ? { queued: true, ...id } : {}
      const skipped = part.heldBack ? { skipped: true, skip_reason: reason ?? part.heldBack } : { skipped: false }
      const recorded = part.kind === 'queued' && part.recorded ? { deduplicated: true } : {}
      return { success: false, ...skipped, ...status, ...errorOf(part), ...queued, ...recorded, ...times }
    }
    case 'refused':
      return {
        success: false,
        skipped: false,
        ...status,
        ...errorOf(part),
        ...(part.id === undefined ? {} : { delivery_id: part.id }),
        ...(part.recorded ? { deduplicated: true } : {}),
        ...times
      }
    case 'nothing':
      return {
        success: false,
        skipped: true,
        skip_reason: part.step === 'outdated' ? 'filtered' : 'resolved_not_wanted',
        ...times
      }
  }
}

function several(parts: readonly PartResult[], choice: Choice & { kind: 'send' }, durationMs: number): Own {
  const told = parts.filter(part => part.kind !== 'nothing')
  if (told.length === 0) return single(parts[0]!, choice.reason, durationMs)
  const delivered = told.filter(part => part.kind === 'delivered')
  const summary = {
    total: told.length,
    delivered: delivered.length,
    queued: told.filter(part => part.kind === 'queued').length,
    refused: told.filter(part => part.kind === 'refused').length
  }
  const enough = choice.live.target.kind.succeedsWith === 'any' ? 1 : told.length
  // The worst part speaks for the delivery.
  const speaker =
    told.find(part => part.kind === 'unowned') ??
    told.find(part => part.kind === 'refused') ??
    told.find(part => part.kind === 'queued') ??
    told[0]!
  const own = single(delivered.length >= enough ? delivered[0]! : speaker, choice.reason, durationMs)
  const { deduplicated: _, ...rest } = own
  // Something was sent for this request, unless all of it was on record.
  const recorded = told.every(part => 'recorded' in part && part.recorded)
  return {
    ...rest,
    ...(summary.queued > 0 ? { queued: true } : {}),
    ...(recorded ? { deduplicated: true } : {}),
    parts: summary,
    attempts: told.reduce((sum, part) => sum + part.attempts, 0)
  }
}

function errorOf(part: Extract<PartResult, { kind: 'queued' | 'unowned' | 'refused' }>): Partial<Own> {
  const { failure } = part
  return failure ? { error: failure.message, error_type: failure.type, error_reason: failure.reason } : {}
}

/** The answer's body out of the targets' results. */
export function publishResult(publishId: string, results: TargetResult[], durationMs: number): PublishResult {
  const total = results.length
  let success = 0
  let skipped = 0
  let queued = 0
  for (const result of results) {
    if (result.success) success++
    else if (result.skipped) skipped++
    if (result.queued) queued++
  }
  const failure = total - success - skipped
  const someHaveSome = success > 0 || results.some(({ parts }) => parts !== undefined && parts.delivered > 0)
  return {
    publish_id: publishId,
    success: success > 0,
    is_partial_success: someHaveSome && failure > 0,
    all_succeeded: total > 0 && success === total,
    all_failed: total > 0 && failure === total && !someHaveSome,
    total_targets: total,
    success_count: success,
    failure_count: failure,
    skipped_count: skipped,
    queued_count: queued,
    success_rate: total === 0 ? 0 : Math.round((success / total) * 10_000) / 100,
    duration_ms: durationMs,
    results
  }
}

/** What the parts of all targets amount to. Names that no target has count as refused. */
export function tallyOf(
  outcomes: readonly { readonly choice: Choice; readonly parts: readonly PartResult[] }[]
): Tally {
  let delivered = false
  let queued = false
  let refused = false
  let unowned = false
  let onlyTimeouts = true
  for (const { choice, parts } of outcomes) {
    if (choice.kind === 'unknown') refused = true
    for (const part of parts) {
      if (part.kind === 'delivered') delivered = true
      else if (part.kind === 'queued') queued = true
      else if (part.kind === 'refused') refused = true
      else if (part.kind === 'unowned') {
        unowned = true
        onlyTimeouts &&= part.failure?.reason === 'timeout'
      }
    }
  }
  return { delivered, queued, refused, unowned, onlyTimeouts }
}
