import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import t from 'tap'
import { embeddedStore } from '../../src/queues/embedded.js'
import { memoryStore } from '../../src/queues/memory.js'
import { redisStore } from '../../src/queues/redis.js'
import { needs } from '../support/programs.js'
import { startRedis } from '../support/redis.js'
import { reopened } from './contract.js'
import { storeProperty } from './model.js'

t.test('the memory store behaves like the model', async () => {
  const open = async () => {
    const store = memoryStore()
    return { store, end: store.close }
  }
  await fc.assert(storeProperty(open), { numRuns: 500 })
})

for (const checkpointRecords of [1, 3, 50_000]) {
  t.test(`the embedded store behaves like the model with ${checkpointRecords} records to a checkpoint`, async () => {
    const open = async () => {
      const dir = mkdtempSync(join(tmpdir(), 'queue-'))
      const subject = await reopened(() => embeddedStore({ dir, checkpointRecords, noteDelayMs: 1 }))
      return {
        ...subject,
        end: async () => {
          await subject.end()
          rmSync(dir, { recursive: true })
        }
      }
    }
    await fc.assert(storeProperty(open), { numRuns: 40 })
  })
}

t.test('the redis store behaves like the model', async t => {
  if (!needs(t, 'redis-server')) return
  const server = await startRedis(t, '--appendfsync', 'no')
  const admin = new Redis(server.url.reveal())
  t.teardown(() => admin.disconnect())
  const open = async () => {
    await admin.flushall()
    return reopened(() => redisStore({ url: server.url }))
  }
  await fc.assert(storeProperty(open), { numRuns: 80 })
})
