import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { accountFor, seeded, startLives, startWitness } from '../support/lives.js'
import { compile, openPlace } from '../support/process.js'
import { needs } from '../support/programs.js'
import { startRedis } from '../support/redis.js'
import { publishPaths } from '../support/service.js'

/** A crashed replica's lanes are free after so long. */
const leaseMs = 15_000
/** What an attempt came to is in Redis within this time, unless the machine is very busy. */
const unwrittenMs = 1_000

t.test('two replicas on one Redis: one is killed under load, the other loses nothing and takes over', async t => {
  if (!needs(t, 'redis-server')) return
  const redis = await startRedis(t)
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  const random = seeded(seed)
  const [hook, single, pager, down] = await Promise.all([
    startWitness(t, 'hook'),
    startWitness(t, 'single', { batch: 'alert' }),
    startWitness(t, 'pager', { type: 'pagerduty', routing_key: 'R0' }),
    startWitness(t, 'down')
  ])
  const witnesses = [hook, single, pager, down]
  const targets = witnesses.map(({ settings }) => settings)
  const env = {
    QUEUE: 'redis',
    REDIS_URL: redis.url.reveal(),
    RETRY_BASE: '100ms',
    RETRY_MAX_DELAY: '500ms',
    CIRCUIT_OPEN_DURATION: '300ms'
  }
  const main = compile(t)
  const [doomed, survivor] = await Promise.all([
    openPlace(t, main, { targets, env }),
    openPlace(t, main, { targets, env })
  ])
  const [run] = await Promise.all([doomed.start(), survivor.start()])

  // One that every other of its requests fails, and one that is down.
  pager.answer(() => (random() < 0.5 ? { status: 503 } : {}))
  down.answer(() => ({ status: 503 }))
  // As a balancer does: in turn, and to whoever is left.
  let turn = 0
  let alive = true
  const post = (body: object) => (alive && ++turn % 2 === 0 ? doomed : survivor).post(publishPaths.all, body)
  const lives = startLives({ post, groups: 8, random })
  await sleep(4_000)
  // Its attempts are under way for sure when it dies.
  single.answer(() => ({ delayMs: 300 }))
  await sleep(500)
  const killedAt = Date.now()
  run.kill('SIGKILL')
  await run.ended
  alive = false
  single.answer(() => ({}))
  await sleep(2_000)
  for (const each of [pager, down]) each.answer(() => ({}))
  await lives.stop()
  while ((await survivor.get('/api/v1/queue')).body.depth > 0) await sleep(50)
  const recoveredMs = Date.now() - killedAt

  const { lost, disorder, extra } = accountFor(lives, witnesses)
  const unexplained = extra.filter(({ at }) => at < killedAt - unwrittenMs || at > killedAt + 50)
  const letters = (await survivor.get('/api/v1/dead-letters')).body.items
  const taken = witnesses.reduce((sum, { took }) => sum + took.length, 0)
  t.comment(
    `seed ${seed}: ${lives.acknowledged.size} alerts, answers ${JSON.stringify(lives.answers)}, ${taken} taken, ` +
      `${extra.length} twice, all there ${recoveredMs} ms after the kill`
  )
  t.strictSame({ lost, disorder, unexplained, letters }, { lost: [], disorder: [], unexplained: [], letters: [] })
  t.ok(recoveredMs < leaseMs + 15_000, 'the lease is what held it up, and little else')
  t.ok(lives.acknowledged.size > 50, 'there was something to lose')
})
