import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { ownDirectory } from './directory.js'
import { needs } from './programs.js'
import { type RedisServer, startRedis } from './redis.js'
import type { TestService } from './service.js'

/** A queue of its own for one test: the environment that services share to share it. */
export interface OwnQueue {
  readonly env: Record<string, string>
  readonly redis: RedisServer | undefined
}

/** The same test on every queue that outlives the process: the embedded one, and Redis where there is one. */
export function onEachQueue(t: Test, name: string, run: (t: Test, queue: OwnQueue) => Promise<void>): void {
  t.test(`embedded: ${name}`, t => run(t, { env: { QUEUE: 'embedded', QUEUE_DIR: ownDirectory(t) }, redis: undefined }))
  onRedis(t, name, run)
}

/** The same on Redis only, or skipped where there is none. */
export function onRedis(
  t: Test,
  name: string,
  run: (t: Test, queue: Required<OwnQueue> & { redis: RedisServer }) => Promise<void>
): void {
  t.test(`redis: ${name}`, async t => {
    if (!needs(t, 'redis-server')) return
    const redis = await startRedis(t)
    await run(t, { env: { QUEUE: 'redis', REDIS_URL: redis.url.reveal() }, redis })
  })
}

/** Waits until something holds; fails after so many seconds of real time, however the clock is put. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  otherwise: () => Promise<string> = async () => '',
  seconds = 15
): Promise<void> {
  for (const end = performance.now() + 1_000 * seconds; !(await holds()); await sleep(10)) {
    if (performance.now() > end) throw new Error(`waited ${seconds} s in vain until ${what} ${await otherwise()}`)
  }
}

/** What is owed now; Infinity while nobody knows. */
export async function depth(service: TestService): Promise<number> {
  const { available, depth } = (await service.get('/api/v1/queue')).body
  return available ? depth : Number.POSITIVE_INFINITY
}

/** Waits until nothing is owed any more, and what was is in the log. */
export function workedOff(service: TestService): Promise<void> {
  const left = async () => (await service.get('/api/v1/deliveries?state=queued')).text
  // What has left the queue is in flight until that is on disk, and logged then.
  const inFlight = async () => (await service.get('/status')).body.in_flight.deliveries
  return eventually('nothing is owed', async () => (await depth(service)) === 0 && (await inFlight()) === 0, left)
}
