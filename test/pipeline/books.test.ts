import t from 'tap'
import { createBooks, writeWith } from '../../src/pipeline/books.js'
import { alertId, deadId, letterOf, memoryId, stateField } from '../../src/pipeline/entry.js'
import { afterOwing, packState } from '../../src/pipeline/lifecycle.js'
import type { Store } from '../../src/queues/contract.js'
import { memoryStore } from '../../src/queues/memory.js'
import { redisStore } from '../../src/queues/redis.js'
import { entryOf } from '../support/entries.js'
import { needs } from '../support/programs.js'
import { startRedis } from '../support/redis.js'

t.test('what a process died over may have arrived, also once it is given up', async t => {
  const store = memoryStore()
  const books = createBooks({ store, retentionMs: 3_600_000, now: Date.now })
  const entry = entryOf('a', 2, { per_group: true, running: true })
  await store.write(
    books.kept(letterOf(entry, { type: 'permanent', reason: 'target_not_found', message: '' }, Date.now()))
  )
  const [letter, memory] = await store.read([deadId('a'), memoryId(entry)])
  t.match(letter, { may_have: true, running: undefined })
  t.strictSame(memory, { may_have: '1' })
})

t.test('what a target got while the same alert was being owed to it is not forgotten', async t => {
  if (!needs(t, 'redis-server')) return
  const { url } = await startRedis(t)
  const [store, other] = await Promise.all([redisStore({ url }), redisStore({ url })])
  t.teardown(() => Promise.all([store.close(), other.close()]))
  const entry = entryOf('a', 2)
  const delivered = packState({ seq: 1, has: 'firing', sure: true, owed: false })
  let reads = 0
  const overtaken: Store = {
    ...store,
    async read(ids, only) {
      const records = await store.read(ids, only)
      if (++reads === 1) await other.write([{ id: alertId('a'), set: { [stateField(entry)]: delivered } }])
      return records
    }
  }
  const books = createBooks({ store: overtaken, retentionMs: 3_600_000, now: Date.now })
  await writeWith(overtaken, [{ id: 'x', set: { n: 1 } }], () => books.states([entry], afterOwing))
  t.equal(reads, 2)
  const [alert, x] = await store.read([alertId('a'), 'x'])
  t.equal(alert?.[stateField(entry)], packState({ seq: 2, has: 'firing', sure: true, owed: true }))
  t.match(x, { n: 1 })
})
