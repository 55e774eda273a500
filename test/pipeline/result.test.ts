import fc from 'fast-check'
import t from 'tap'
import type { PartResult } from '../../src/pipeline/job.js'
import { createLive } from '../../src/pipeline/live.js'
import { publishResult, statusOf, type TargetResult, tallyOf, targetResult } from '../../src/pipeline/result.js'
import type { Choice } from '../../src/pipeline/select.js'
import { failure } from '../../src/targets/failures.js'
import { targetOf } from '../support/drive.js'
import { alertOf } from '../support/messages.js'

const hook = createLive(targetOf({ name: 'hook', type: 'webhook', url: 'http://hook.test/' }))
const pair = createLive(targetOf({ name: 'pair', type: 'alertmanager', urls: ['http://a.test', 'http://b.test'] }))
const send: Choice = { kind: 'send', live: hook, alerts: [alertOf()] }
const sendToPair: Choice = { kind: 'send', live: pair, alerts: [alertOf()] }
const skip: Choice = { kind: 'skip', live: hook, reason: 'filtered' }
const unknown: Choice = { kind: 'unknown', name: 'nobody' }

const broken = failure('server_error', 'Webhook answered 503')
const late = failure('timeout', 'Webhook did not answer in time')
const no = failure('rejected', 'Webhook refused it')

const times = { attempts: 1, durationMs: 12 }
const delivered: PartResult = { kind: 'delivered', statusCode: 200, ...times }
const recorded: PartResult = { kind: 'delivered', recorded: true, attempts: 0, durationMs: 0 }
const queued: PartResult = { kind: 'queued', id: 'd1', statusCode: 503, failure: broken, ...times }
const refused: PartResult = { kind: 'refused', id: 'd2', statusCode: 422, failure: no, ...times }
const unowned: PartResult = { kind: 'unowned', statusCode: 503, failure: broken, ...times }
const unownedLate: PartResult = { kind: 'unowned', failure: late, ...times }
const heldBack: PartResult = { kind: 'queued', id: 'd3', heldBack: 'circuit_open', attempts: 0, durationMs: 0 }
const superseded: PartResult = { kind: 'nothing', step: 'superseded', attempts: 0, durationMs: 0 }

const hookResult = { target_name: 'hook', target_type: 'webhook' }
const shown = (of: typeof broken) => ({ error: of.message, error_type: of.type, error_reason: of.reason })

const results: [what: string, choice: Choice, parts: PartResult[], result: TargetResult][] = [
  [
    'a delivery',
    send,
    [delivered],
    { ...hookResult, success: true, skipped: false, status_code: 200, attempts: 1, duration_ms: 50 }
  ],
  [
    'a delivery on record',
    send,
    [recorded],
    { ...hookResult, success: true, skipped: false, deduplicated: true, attempts: 0, duration_ms: 50 }
  ],
  [
    'what is owed',
    send,
    [queued],
    {
      ...hookResult,
      success: false,
      skipped: false,
      status_code: 503,
      ...shown(broken),
      queued: true,
      delivery_id: 'd1',
      attempts: 1,
      duration_ms: 50
    }
  ],
  [
    'what is owed on record',
    send,
    [{ ...queued, recorded: true, attempts: 0 }],
    {
      ...hookResult,
      success: false,
      skipped: false,
      status_code: 503,
      ...shown(broken),
      queued: true,
      delivery_id: 'd1',
      deduplicated: true,
      attempts: 0,
      duration_ms: 50
    }
  ],
  [
    'what was refused for good',
    send,
    [refused],
    {
      ...hookResult,
      success: false,
      skipped: false,
      status_code: 422,
      ...shown(no),
      delivery_id: 'd2',
      attempts: 1,
      duration_ms: 50
    }
  ],
  [
    'what nobody can own',
    send,
    [unownedLate],
    { ...hookResult, success: false, skipped: false, ...shown(late), attempts: 1, duration_ms: 50 }
  ],
  [
    'what is held back',
    { ...send, heldBack: 'unhealthy', reason: 'unhealthy' },
    [{ ...heldBack, heldBack: 'unhealthy' }],
    {
      ...hookResult,
      success: false,
      skipped: true,
      skip_reason: 'unhealthy',
      queued: true,
      delivery_id: 'd3',
      attempts: 0,
      duration_ms: 50
    }
  ],
  [
    'a resolve that is owed to a disabled target',
    { ...send, heldBack: 'unhealthy', reason: 'disabled' },
    [{ ...heldBack, heldBack: 'unhealthy' }],
    {
      ...hookResult,
      success: false,
      skipped: true,
      skip_reason: 'disabled',
      queued: true,
      delivery_id: 'd3',
      attempts: 0,
      duration_ms: 50
    }
  ],
  [
    'what a circuit held back that opened meanwhile, and nobody can own',
    send,
    [{ kind: 'unowned', heldBack: 'circuit_open', attempts: 0, durationMs: 0 }],
    { ...hookResult, success: false, skipped: true, skip_reason: 'circuit_open', attempts: 0, duration_ms: 50 }
  ],
  [
    'a resolve of what the target never had',
    send,
    [superseded],
    { ...hookResult, success: false, skipped: true, skip_reason: 'resolved_not_wanted', attempts: 0, duration_ms: 50 }
  ],
  [
    'a target that was left out',
    skip,
    [],
    { ...hookResult, success: false, skipped: true, skip_reason: 'filtered', attempts: 0, duration_ms: 50 }
  ],
  [
    'a name that no target has',
    unknown,
    [],
    {
      target_name: 'nobody',
      success: false,
      skipped: false,
      error: 'no target has this name',
      error_type: 'configuration',
      error_reason: 'target_not_found',
      attempts: 0,
      duration_ms: 50
    }
  ]
]
for (const [what, choice, parts, result] of results) {
  t.test(`the result of ${what}`, async t => t.strictSame(targetResult(choice, parts, 50), result))
}

const manyParts: [what: string, choice: Choice, parts: PartResult[], result: Partial<TargetResult>][] = [
  [
    'all delivered',
    send,
    [delivered, delivered],
    { success: true, attempts: 2, parts: { total: 2, delivered: 2, queued: 0, refused: 0 } }
  ],
  [
    'some delivered, one owed',
    send,
    [delivered, queued, delivered],
    { success: false, queued: true, attempts: 3, parts: { total: 3, delivered: 2, queued: 1, refused: 0 } }
  ],
  [
    'one refused, one owed: the refusal speaks, and some is queued',
    send,
    [queued, refused],
    { success: false, error_reason: 'rejected', queued: true, parts: { total: 2, delivered: 0, queued: 1, refused: 1 } }
  ],
  [
    'one unowned speaks first of all',
    send,
    [refused, unowned, delivered],
    { success: false, error_reason: 'server_error', parts: { total: 3, delivered: 1, queued: 0, refused: 1 } }
  ],
  [
    'what there was nothing to tell about does not count',
    send,
    [superseded, delivered],
    { success: true, skipped: false, parts: { total: 1, delivered: 1, queued: 0, refused: 0 } }
  ],
  [
    'all held back',
    { ...send, heldBack: 'unhealthy', reason: 'unhealthy' },
    [heldBack, heldBack],
    { skipped: true, skip_reason: 'unhealthy', queued: true, parts: { total: 2, delivered: 0, queued: 2, refused: 0 } }
  ],
  [
    'one of a pair has it, and that is enough',
    sendToPair,
    [queued, delivered],
    { success: true, skipped: false, queued: true, parts: { total: 2, delivered: 1, queued: 1, refused: 0 } }
  ],
  [
    'none of a pair has it',
    sendToPair,
    [queued, queued],
    { success: false, queued: true, parts: { total: 2, delivered: 0, queued: 2, refused: 0 } }
  ]
]
for (const [what, choice, parts, result] of manyParts) {
  t.test(`several parts: ${what}`, async t => t.match(targetResult(choice, parts, 50), result))
}

t.test('several parts of which there was nothing to tell about any are one skip', async t => {
  t.strictSame(targetResult(send, [superseded, superseded], 50), {
    ...hookResult,
    success: false,
    skipped: true,
    skip_reason: 'resolved_not_wanted',
    attempts: 0,
    duration_ms: 50
  })
})

t.test('several parts are deduplicated only if nothing at all was sent', async t => {
  t.equal(targetResult(send, [recorded, recorded], 50).deduplicated, true)
  t.equal(targetResult(send, [recorded, delivered], 50).deduplicated, undefined)
  t.equal(targetResult(send, [delivered, recorded], 50).deduplicated, undefined)
  t.equal(targetResult(send, [delivered, { ...queued, recorded: true }], 50).deduplicated, undefined)
})

t.test('the answer counts every target once', async t => {
  const all = [
    targetResult(send, [delivered], 1),
    targetResult(send, [queued], 1),
    targetResult(send, [refused], 1),
    targetResult(send, [heldBack], 1),
    targetResult(skip, [], 1),
    targetResult(unknown, [], 1)
  ]
  t.strictSame(publishResult('p1', all, 7), {
    publish_id: 'p1',
    success: true,
    is_partial_success: true,
    all_succeeded: false,
    all_failed: false,
    total_targets: 6,
    success_count: 1,
    failure_count: 3,
    skipped_count: 2,
    queued_count: 2,
    success_rate: 16.67,
    duration_ms: 7,
    results: all
  })
})

for (const [what, parts, flags] of [
  [
    'all have it',
    [delivered, delivered],
    { success: true, is_partial_success: false, all_succeeded: true, all_failed: false }
  ],
  [
    'all failed',
    [queued, refused],
    { success: false, is_partial_success: false, all_succeeded: false, all_failed: true }
  ],
  [
    'some have it',
    [delivered, refused],
    { success: true, is_partial_success: true, all_succeeded: false, all_failed: false }
  ],
  [
    'some have it, the others were skipped',
    [delivered, heldBack],
    { success: true, is_partial_success: false, all_succeeded: false, all_failed: false }
  ],
  [
    'all were skipped',
    [heldBack, superseded],
    { success: false, is_partial_success: false, all_succeeded: false, all_failed: false }
  ]
] as const) {
  t.test(`${what}: ${JSON.stringify(flags)}`, async t => {
    t.match(
      publishResult(
        'p',
        parts.map(part => targetResult(send, [part], 1)),
        1
      ),
      flags
    )
  })
}

t.test('an answer about nobody is no success of anybody', async t => {
  t.match(publishResult('p', [], 1), { success: false, all_succeeded: false, all_failed: false, success_rate: 0 })
})

const anyPart = fc.constantFrom(delivered, recorded, queued, refused, unowned, unownedLate, heldBack, superseded)

t.test('success, failure and skipped always add up to the total', async t => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.array(fc.array(anyPart, { minLength: 1, maxLength: 4 }), { maxLength: 6 }), targets => {
        const { results, ...sums } = publishResult(
          'p',
          targets.map(parts => targetResult(send, parts, 1)),
          1
        )
        return (
          sums.total_targets === targets.length &&
          sums.success_count + sums.failure_count + sums.skipped_count === targets.length &&
          results.every(({ success, skipped }) => !(success && skipped))
        )
      })
    )
  )
})

const rows: [what: string, outcomes: [Choice, PartResult[]][], status: number, code?: string][] = [
  [
    'all have it',
    [
      [send, [delivered]],
      [send, [recorded]]
    ],
    200
  ],
  [
    'some have it, some are owed',
    [
      [send, [delivered]],
      [send, [queued]]
    ],
    207
  ],
  [
    'some have it, some refused',
    [
      [send, [delivered]],
      [send, [refused]]
    ],
    207
  ],
  [
    'some have it, one name is unknown',
    [
      [send, [delivered]],
      [unknown, []]
    ],
    207
  ],
  ['parts of one target have it, others are owed', [[send, [delivered, queued]]], 207],
  [
    'all are owed',
    [
      [send, [queued]],
      [send, [heldBack]]
    ],
    202
  ],
  [
    'some are owed, some refused',
    [
      [send, [queued]],
      [send, [refused]]
    ],
    202
  ],
  ['all refused', [[send, [refused]]], 502, 'ALL_TARGETS_FAILED'],
  [
    'some refused, the others were skipped',
    [
      [send, [refused]],
      [skip, []]
    ],
    502,
    'ALL_TARGETS_FAILED'
  ],
  [
    'one cannot be owned',
    [
      [send, [delivered]],
      [send, [unowned]]
    ],
    503,
    'QUEUE_UNAVAILABLE'
  ],
  [
    'one timed out and cannot be owned, another has it',
    [
      [send, [delivered]],
      [send, [unownedLate]]
    ],
    503,
    'QUEUE_UNAVAILABLE'
  ],
  [
    'nothing but timeouts that cannot be owned',
    [
      [send, [unownedLate]],
      [send, [unownedLate]]
    ],
    504,
    'PUBLISH_TIMEOUT'
  ],
  [
    'a timeout and a failure that cannot be owned',
    [
      [send, [unownedLate]],
      [send, [unowned]]
    ],
    503,
    'QUEUE_UNAVAILABLE'
  ],
  [
    'a timeout that cannot be owned beside a refusal',
    [
      [send, [unownedLate]],
      [send, [refused]]
    ],
    503,
    'QUEUE_UNAVAILABLE'
  ],
  [
    'a timeout that cannot be owned beside what is owed',
    [
      [send, [unownedLate]],
      [send, [queued]]
    ],
    503,
    'QUEUE_UNAVAILABLE'
  ],
  [
    'nothing but skips that owe nothing',
    [
      [skip, []],
      [send, [superseded]]
    ],
    200
  ]
]
for (const [what, outcomes, status, code] of rows) {
  t.test(`${what}: ${status}${code ? ` ${code}` : ''}`, async t => {
    const tally = tallyOf(outcomes.map(([choice, parts]) => ({ choice, parts })))
    t.strictSame(statusOf(tally), code ? { status, code } : { status })
  })
}
