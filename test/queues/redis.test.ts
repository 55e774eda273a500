import { Redis } from 'ioredis'
import t from 'tap'
import { redisStore } from '../../src/queues/redis.js'
import { needs } from '../support/programs.js'
import { type RedisServer, startRedis } from '../support/redis.js'
import { storeContract } from './contract.js'

t.test('the redis store keeps the contract', async t => {
  if (!needs(t, 'redis-server')) return
  const server = await startRedis(t)
  storeContract(t, () => onRedis(server))
})

async function onRedis(server: RedisServer) {
  const admin = new Redis(server.url.reveal())
  await admin.flushall()
  await admin.quit()
  let store = await redisStore({ url: server.url })
  return {
    store,
    reopen: async () => {
      await store.close()
      store = await redisStore({ url: server.url })
      return store
    },
    end: () => store.close()
  }
}
