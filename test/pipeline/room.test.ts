import t from 'tap'
import { createBooks } from '../../src/pipeline/books.js'
import { deadId, entryId, stored } from '../../src/pipeline/entry.js'
import { createRoom } from '../../src/pipeline/room.js'
import { embeddedStore } from '../../src/queues/embedded.js'
import { entryOf } from '../support/entries.js'

const now = Date.now
t.test('room is made by the oldest that nobody is about to send', async t => {
  const store = await embeddedStore({ dir: t.testdir() })
  t.teardown(() => store.close())
  const buried: string[] = []
  const books = createBooks({ store, retentionMs: 3_600_000, now })
  const inHand = new Set(['a'])
  const room = createRoom({ store, books, maxPerTarget: 2, inHand, buried: ({ id }) => buried.push(id), now })
  const entries = ['a', 'b', 'c'].map((id, index) => entryOf(id, index))
  for (const entry of entries) await store.write(stored(entry))
  await room.entered([entries[2]!], new Map())
  t.strictSame(buried, ['b'])
  const [a, b, letter] = await store.read([entryId('a'), entryId('b'), deadId('b')])
  t.match(a, { id: 'a' })
  t.equal(b, undefined)
  t.match(letter, { failure: { reason: 'queue_full' } })
})
