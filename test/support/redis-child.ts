import { redisStore } from '../../src/queues/redis.js'
import { Secret } from '../../src/secret.js'

/** A process that holds a lane until it is killed. */
const [url, leaseMs, lane] = process.argv.slice(2) as [string, string, string]
const store = await redisStore({ url: new Secret(url), leaseMs: Number(leaseMs) })
process.stdout.write((await store.hold([lane])) ? 'held\n' : 'refused\n')
setInterval(() => {}, 1_000)
