import t from 'tap'
import { createBooks } from '../../src/pipeline/books.js'
import { deadId, type Entry, entryId, slotId, stored } from '../../src/pipeline/entry.js'
import { createRoom } from '../../src/pipeline/room.js'
import { embeddedStore } from '../../src/queues/embedded.js'

const now = Date.now
const entryOf = (id: string, index: number): Entry => ({
  id,
  target: 'hook',
  type: 'webhook',
  part: '',
  slot: id,
  alerts: [
    {
      alert: {
        alert_name: id,
        fingerprint: id,
        status: 'firing',
        labels: { alertname: id },
        annotations: {},
        starts_at: '2026-11-20T18:00:00Z'
      },
      seq: index,
      ifOwed: false
    }
  ],
  group: {
    receiver: 'r',
    group_key: id,
    group_labels: {},
    common_labels: {},
    common_annotations: {},
    external_url: '',
    truncated_alerts: 0
  },
  publish_id: 'p',
  base: 'b',
  refs: [],
  accepted_at: index,
  due_at: index,
  tries: 0,
  attempts: [],
  may_have: false
})

t.test('room is made by the oldest that nobody is about to send', async t => {
  const store = await embeddedStore({ dir: t.testdir() })
  t.teardown(() => store.close())
  const buried: string[] = []
  const books = createBooks({ store, retentionMs: 3_600_000, now })
  const inHand = new Set(['a'])
  const room = createRoom({ store, books, maxPerTarget: 2, inHand, buried: ({ id }) => buried.push(id), now })
  const entries = ['a', 'b', 'c'].map(entryOf)
  for (const entry of entries) await store.write([stored(entry), { id: slotId(entry), set: { [entry.id]: 1 } }])
  await room.entered([entries[2]!], new Map())
  t.strictSame(buried, ['b'])
  const [a, b, letter] = await store.read([entryId('a'), entryId('b'), deadId('b')])
  t.match(a, { id: 'a' })
  t.equal(b, undefined)
  t.match(letter, { failure: { reason: 'queue_full' } })
})
