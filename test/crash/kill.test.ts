import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { accountFor, seeded, startLives, startWitness } from '../support/lives.js'
import { compile, openPlace } from '../support/process.js'
import { publishPaths } from '../support/service.js'

const kills = 24
/** What an attempt came to is on disk within this time, so that a crash before may have it sent again. */
const unwrittenMs = 1_000

t.test('kill -9 at any moment loses nothing that was acknowledged, and repeats only what was under way', async t => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  const random = seeded(seed)
  const unsteady = () => (random() < 0.3 ? { status: 503 } : random() < 0.1 ? 'reset' : {}) as object
  const [hook, slow, v4, pager, downHook, downPager] = await Promise.all([
    startWitness(t, 'hook'),
    startWitness(t, 'slow', { batch: 'alert' }),
    startWitness(t, 'v4', { format: 'alertmanager' }),
    startWitness(t, 'pager', { type: 'pagerduty', routing_key: 'R0' }),
    startWitness(t, 'down-hook'),
    startWitness(t, 'down-pager', { type: 'pagerduty', routing_key: 'R1' })
  ])
  const witnesses = [hook, slow, v4, pager, downHook, downPager]
  slow.answer(() => ({ delayMs: 30 }))
  for (const each of [v4, pager]) each.answer(unsteady)
  for (const each of [downHook, downPager]) each.answer(() => ({ status: 503 }))

  const place = await openPlace(t, compile(t), {
    targets: witnesses.map(({ settings }) => settings),
    env: {
      RETRY_BASE: '100ms',
      RETRY_MAX_DELAY: '500ms',
      CIRCUIT_OPEN_DURATION: '300ms',
      QUEUE_MAX_PER_TARGET: '100000'
    }
  })
  const lives = startLives({ post: body => place.post(publishPaths.all, body), groups: 8, random })
  const killedAt: number[] = []
  while (killedAt.length < kills) {
    // Now and then it is killed while it starts.
    const run = random() < 0.15 ? place.spawn() : await place.start()
    await sleep(700 * random())
    // The outage of two targets ends halfway, and begins again before the end.
    if (killedAt.length === kills / 2) for (const each of [downHook, downPager]) each.answer(() => ({}))
    if (killedAt.length === kills - 6) for (const each of [downHook, downPager]) each.answer(() => ({ status: 503 }))
    run.kill('SIGKILL')
    killedAt.push(Date.now())
    await run.ended
  }

  for (const each of witnesses) each.answer(() => ({}))
  await place.start()
  await lives.stop()
  while ((await place.get('/api/v1/queue')).body.depth > 0) await sleep(50)
  const letters = (await place.get('/api/v1/dead-letters')).body.items

  const { lost, disorder, extra } = accountFor(lives, witnesses)
  const unexplained = extra.filter(({ at }) => !killedAt.some(kill => at > kill - unwrittenMs && at < kill + 50))
  const alerts = lives.acknowledged.size
  const taken = witnesses.reduce((sum, { took }) => sum + took.length, 0)
  t.comment(
    `seed ${seed}: ${alerts} alerts, answers ${JSON.stringify(lives.answers)}, ${taken} taken, ${extra.length} twice`
  )
  t.strictSame({ lost, disorder, unexplained, letters }, { lost: [], disorder: [], unexplained: [], letters: [] })
  t.ok(alerts > 20, 'there was something to lose')
})
