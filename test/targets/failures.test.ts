import t from 'tap'
import { type ErrorType, errorReasons } from '../../src/targets/contract.js'
import { failure, judgeByStatus, retryAfterMs } from '../../src/targets/failures.js'
import { answerOf } from '../support/drive.js'
import { testNow } from '../support/messages.js'

t.test('every reason has the type that decides about its retry', async t => {
  const types: Record<string, ErrorType> = Object.fromEntries(
    errorReasons.map(reason => [reason, failure(reason, 'a message').type])
  )
  t.same(types, {
    timeout: 'transient',
    dns: 'transient',
    connection: 'transient',
    tls: 'transient',
    rate_limited: 'rate_limited',
    server_error: 'transient',
    auth: 'configuration',
    not_found: 'configuration',
    client_error: 'permanent',
    rejected: 'permanent',
    blocked_address: 'permanent',
    payload_too_large: 'permanent',
    target_not_found: 'permanent',
    queue_full: 'permanent',
    cancelled: 'transient',
    internal: 'unknown'
  })
})

t.test('a failure says what it was made of', async t => {
  t.same(failure('rejected', 'no', { type: 'unknown', statusCode: 200, mayHave: true }), {
    kind: 'failed',
    type: 'unknown',
    reason: 'rejected',
    message: 'no',
    statusCode: 200,
    mayHave: true
  })
})

t.test('every 2xx is delivered', async t => {
  for (const status of [200, 201, 202, 204, 207, 299]) {
    t.same(judgeByStatus(answerOf(status), 'Webhook', testNow), { kind: 'delivered' })
  }
})

t.test('a status that is none is no verdict about the alert', async t => {
  for (const status of [0, 100, 199]) {
    t.match(judgeByStatus(answerOf(status), 'Webhook', testNow), {
      kind: 'failed',
      type: 'unknown',
      reason: 'internal'
    })
  }
})

t.test('a failure tells the status, and nothing that the target said', async t => {
  t.same(judgeByStatus(answerOf(503, 'password=hunter2', { 'retry-after': '2' }), 'Webhook', testNow), {
    kind: 'failed',
    type: 'transient',
    reason: 'server_error',
    message: 'Webhook answered 503',
    statusCode: 503,
    retryAfterMs: 2_000,
    mayHave: false
  })
})

t.test('Retry-After is read as seconds or as a date, and never asks for more than an hour', async t => {
  const cases: [string | string[] | undefined, number | undefined][] = [
    [undefined, undefined],
    ['', undefined],
    ['soon', undefined],
    ['0', 0],
    ['7', 7_000],
    [' 7 ', 7_000],
    ['1.5', 1_500],
    ['-5', 0],
    ['99999999999999999999', 3_600_000],
    [['3', '9'], 3_000],
    ['Fri, 20 Nov 2026 18:20:30 GMT', 30_000],
    ['Fri, 20 Nov 2026 18:00:00 GMT', 0],
    ['Sat, 21 Nov 2026 18:20:00 GMT', 3_600_000]
  ]
  for (const [header, expected] of cases) {
    t.equal(retryAfterMs(answerOf(429, '', { 'retry-after': header }), testNow), expected, JSON.stringify(header))
  }
})
