import t from 'tap'
import {
  chosenKeyOf,
  contentKeyOf,
  type Meaning,
  meaningOf,
  publishKeyOf,
  type Round,
  roundAfter,
  type Sighting,
  stateOf
} from '../../src/pipeline/ledger.js'
import { alertOf, notificationOf, notificationWith } from '../support/messages.js'

const minute = 60_000
const day = 86_400_000
const now = 10 * day

const sighting = (more: Partial<Sighting> = {}): Sighting => ({
  now,
  sender: 'am-1',
  reminder: false,
  outdated: false,
  dedupWindowMs: 2 * minute,
  chosenKey: false,
  interruptedAt: 0,
  ...more
})

/** A round that was seen and, unless told otherwise, answered so long ago. */
const round = (agoMs: number, more: Partial<Round> = {}): Round => ({
  round: 7,
  seenAt: now - agoMs,
  answeredAt: now - agoMs,
  senders: ['am-1'],
  ...more
})
const unanswered = (agoMs: number): Round => ({ round: 7, seenAt: now - agoMs, senders: ['am-1'] })

const table: [what: string, known: Round | undefined, more: Partial<Sighting>, meaning: Meaning['kind']][] = [
  ['a key never seen', undefined, {}, 'fresh'],
  ['a key never seen, said to be a reminder', undefined, { reminder: true }, 'fresh'],
  ['a retry of what got no 2xx', unanswered(5_000), {}, 'resume'],
  ['a retry by the pair’s other half', unanswered(5_000), { sender: 'am-2' }, 'resume'],
  ['a retry just 10 min later', unanswered(10 * minute), {}, 'resume'],
  ['a retry more than 10 min later', unanswered(10 * minute + 1), {}, 'fresh'],
  ['the same bytes 20 ms after a 2xx', round(20), {}, 'twin'],
  ['the pair’s other half 31 s later', round(31_000), { sender: 'am-2' }, 'twin'],
  ['the same sender at the end of the window', round(2 * minute), {}, 'twin'],
  ['a hurried reminder within the window', round(minute), { reminder: true }, 'twin'],
  ['the same sender after the window', round(2 * minute + 1), {}, 'reminder'],
  ['the same sender after the repeat interval', round(240 * minute), {}, 'reminder'],
  ['the other half just after the window', round(2 * minute + 1), { sender: 'am-2' }, 'twin'],
  [
    'the other half after the window, by its own repeat interval',
    round(3 * minute, {}),
    { sender: 'am-2', reminder: true },
    'reminder'
  ],
  [
    'the other half once it was seen too',
    round(3 * minute, { senders: ['am-1', 'am-2'] }),
    { sender: 'am-2' },
    'reminder'
  ],
  ['a sender that moved, long after', round(11 * minute), { sender: 'am-9' }, 'reminder'],
  ['a re-fire right after a 2xx', round(20), { outdated: true }, 'refire'],
  ['a re-fire after what got no 2xx', unanswered(20), { outdated: true }, 'refire'],
  ['a re-fire that claims to be a reminder', round(day / 2), { outdated: true, reminder: true }, 'refire'],
  ['the same sender soon after a crash', round(20_000), { interruptedAt: now - 5_000 }, 'refire'],
  ['the pair’s other half soon after a crash', round(20_000), { interruptedAt: now - 5_000, sender: 'am-2' }, 'twin'],
  ['the same sender soon after what was answered since a crash', round(20), { interruptedAt: now - 5_000 }, 'twin'],
  ['a retry over a crash', unanswered(20_000), { interruptedAt: now - 5_000 }, 'resume'],
  ['a chosen key over a crash', round(20_000), { interruptedAt: now - 5_000, chosenKey: true }, 'twin'],
  ['dedup switched off, the same ms', round(0), { dedupWindowMs: 0 }, 'twin'],
  ['dedup switched off, later', round(1), { dedupWindowMs: 0 }, 'reminder'],
  ['a chosen key that was answered', round(5 * minute), { chosenKey: true }, 'twin'],
  ['a chosen key a day later', round(day), { chosenKey: true }, 'twin'],
  ['a chosen key more than a day later', round(day + 1), { chosenKey: true }, 'fresh'],
  ['a chosen key that got no 2xx, an hour later', unanswered(60 * minute), { chosenKey: true }, 'resume'],
  ['a chosen key whose alerts had other states since', round(minute), { chosenKey: true, outdated: true }, 'twin']
]
for (const [what, known, more, meaning] of table) {
  t.test(`${what} is ${meaning}`, async t => t.strictSame(meaningOf(known, sighting(more)), { kind: meaning }))
}

t.test('a twin that was seen late does not move the window of the answer', async t => {
  const known = { ...round(3 * minute), seenAt: now - 1_000 }
  t.strictSame(meaningOf(known, sighting()), { kind: 'reminder' })
})

for (const kind of ['fresh', 'reminder', 'refire'] as const) {
  t.test(`${kind} begins a round: nobody has answered or been seen in it but this sender`, async t => {
    const after = roundAfter(round(day), { kind }, sighting({ sender: 'am-2' }), 8)
    t.strictSame(after, { round: 8, seenAt: now, senders: ['am-2'] })
  })
}

t.test('a round under a chosen key remembers when it began, and goes on with that', async t => {
  const began = roundAfter(undefined, { kind: 'fresh' }, sighting({ chosenKey: true }), 7)
  t.strictSame(began, { round: 7, seenAt: now, senders: ['am-1'], beganAt: now })
  const later = sighting({ chosenKey: true, now: now + minute })
  t.equal(roundAfter(began, { kind: 'resume' }, later, 8).beganAt, now)
  t.equal(roundAfter(began, { kind: 'fresh' }, later, 8).beganAt, now + minute)
})

for (const kind of ['resume', 'twin'] as const) {
  t.test(`${kind} goes on with the round, and remembers who was seen`, async t => {
    const known = round(minute)
    t.strictSame(roundAfter(known, { kind }, sighting(), 8), { ...known, seenAt: now })
    t.strictSame(roundAfter(known, { kind }, sighting({ sender: 'am-2' }), 8).senders, ['am-1', 'am-2'])
  })
}

t.test('of very many senders the last ones are remembered', async t => {
  let known = round(0)
  for (let index = 2; index < 40; index++)
    known = roundAfter(known, { kind: 'twin' }, sighting({ sender: `am-${index}` }), 8)
  t.equal(known.senders.length, 16)
  t.equal(known.senders.at(-1), 'am-39')
})

t.test('annotations are no state; status, start and end are', async t => {
  const firing = alertOf()
  t.equal(stateOf({ ...firing, annotations: { summary: 'now 95%' }, generator_url: 'https://x' }), stateOf(firing))
  const states = [
    firing,
    alertOf({ starts_at: '2026-11-20T19:00:00Z' }),
    alertOf({ status: 'resolved' }),
    alertOf({ status: 'resolved', ends_at: '2026-11-20T19:00:00Z' }),
    alertOf({ status: 'resolved', ends_at: '2026-11-20T20:00:00Z' })
  ].map(stateOf)
  t.equal(new Set(states).size, states.length)
})

t.test('a firing alert’s end is no state: it moves at every flush', async t => {
  t.equal(stateOf(alertOf({ ends_at: '2026-11-20T19:00:00Z' })), stateOf(alertOf()))
})

t.test('a publish key is the same for retries, twins and reminders', async t => {
  const posted = notificationOf('firing-3')
  const key = publishKeyOf(posted)
  const [first, ...others] = posted.alerts
  for (const same of [
    { ...posted, external_url: 'http://am-2:9093' },
    { ...posted, alerts: [...others, first!] },
    { ...posted, alerts: posted.alerts.map(alert => ({ ...alert, annotations: {} })) },
    { ...posted, body: Buffer.alloc(0), common_annotations: {}, truncated_alerts: 1 }
  ]) {
    t.equal(publishKeyOf(same), key)
  }
})

t.test('a publish key is another one for another receiver, group, alert or state', async t => {
  const posted = notificationOf('firing-3')
  const [first, ...others] = posted.alerts
  const keys = [
    posted,
    { ...posted, receiver: 'other' },
    { ...posted, group_key: '{}:{}' },
    { ...posted, alerts: others },
    { ...posted, alerts: [{ ...first!, fingerprint: '0' }, ...others] },
    { ...posted, alerts: [{ ...first!, status: 'resolved' as const }, ...others] },
    { ...posted, alerts: [{ ...first!, starts_at: '2026-11-20T19:00:00Z' }, ...others] }
  ].map(publishKeyOf)
  t.equal(new Set(keys).size, keys.length)
})

t.test('a chosen key counts together with its body', async t => {
  const body = Buffer.from('{"alert":{}}')
  t.equal(chosenKeyOf('k', body), chosenKeyOf('k', Buffer.from(body)))
  t.equal(new Set([chosenKeyOf('k', body), chosenKeyOf('l', body), chosenKeyOf('k', Buffer.from('{}'))]).size, 3)
})

t.test('what goes out has one key over all retries, and others for other alerts or rounds', async t => {
  const { alerts } = notificationWith([alertOf(), alertOf({ fingerprint: 'b' })])
  const key = contentKeyOf('p/1', alerts)
  t.equal(
    contentKeyOf(
      'p/1',
      alerts.map(alert => ({ ...alert, annotations: {} }))
    ),
    key
  )
  const others = [contentKeyOf('p/2', alerts), contentKeyOf('p/1', alerts.slice(1)), contentKeyOf('p/1', [])]
  t.equal(new Set([key, ...others]).size, 4)
})
