import t from 'tap'
import { memoryStore } from '../../src/queues/memory.js'
import { gatherNotes } from '../../src/queues/notes.js'

t.test('a note that depends on what its record has means the same to a store that gathers notes', async t => {
  for (const change of [
    { id: 'a', set: { x: 1 }, update: true },
    { id: 'a', set: { x: null }, tidy: true }
  ]) {
    const store = gatherNotes(memoryStore())
    store.note([change])
    t.same(await store.read(['a']), [undefined])
  }
})
