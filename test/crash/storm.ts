import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { seeded } from '../support/lives.js'
import { compile, openPlace, type Place, type Run } from '../support/process.js'
import { type OwnQueue, onEachQueue, onRedis } from '../support/queues.js'
import type { RedisServer } from '../support/redis.js'
import { publishPaths } from '../support/service.js'
import { type Storm, startStorm } from '../support/storm.js'
import { groupKeyOf, moods, startVendors, type Vendor } from '../support/vendors.js'

// Four at once keep two cores busy: what is slow meets what is killed in more ways then.
t.jobs = 4

const stormMs = 8_000
/** Of storms on each queue. */
const rounds = Number(process.env.ROUNDS ?? 2)
const env = {
  ACK_TIMEOUT: '300ms',
  ATTEMPT_TIMEOUT: '1s',
  PUBLISH_TIMEOUT: '3s',
  ADAPTIVE_TIMEOUT: 'false',
  CIRCUIT_OPEN_DURATION: '300ms',
  RETRY_BASE: '50ms',
  RETRY_MAX_DELAY: '400ms',
  DRAIN_TIMEOUT: '500ms',
  DEDUP_WINDOW: '1s'
}
const main = compile(t)

/** One service, or one of two replicas. */
interface Process {
  readonly place: Place
  run: Run
}

for (let round = 0; round < rounds; round++) {
  const isEdited = round % 2 === 1
  const name = `${isEdited ? ' and targets that come and go' : ''}, ${round + 1} of ${rounds}`
  const title = `what is open in the end is what fires, after faults, kills, stops${name}`
  onEachQueue(t, title, (t, queue) => rage(t, queue, { round, isEdited, replicas: queue.redis ? 2 : 1 }))
  // One alone, as replicas do not know of each other meanwhile.
  onRedis(t, `${title}, of a Redis that comes and goes`, (t, queue) =>
    rage(t, queue, { round, isEdited, replicas: 1, faulty: queue.redis })
  )
}

interface Rage {
  readonly round: number
  /** Whether targets come and go. */
  readonly isEdited: boolean
  readonly replicas: number
  /** It comes and goes. */
  readonly faulty?: RedisServer
}

async function rage(t: Test, queue: OwnQueue, { round, isEdited, replicas, faulty }: Rage): Promise<void> {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
  const random = seeded(seed + round)
  const vendors = await startVendors(t)
  const targets = vendors.map(({ settings }) => settings)
  const places = await Promise.all(
    Array.from({ length: replicas }, () => openPlace(t, main, { targets, env: { ...env, ...queue.env } }))
  )
  const processes = await Promise.all(places.map(async place => ({ place, run: await place.start() })))
  const one = () => places[Math.floor(places.length * random())]!
  const storm = startStorm({ post: body => one().post(publishPaths.all, body), random })

  const end = Date.now() + stormMs
  const goesOn = () => Date.now() < end
  let isOver = false
  const moody = Promise.all(vendors.map(vendor => behave(vendor, random, () => !isOver)))
  // Not both at once: whoever is killed while Redis is away takes along what only it knew.
  const disturbances = (each: Process) => [() => kill(each, random), ...(faulty ? [() => goAway(faulty, random)] : [])]
  await Promise.all([
    ...processes.map(each => disturb(disturbances(each), random, goesOn)),
    isEdited && edit(places, targets, random, goesOn)
  ])
  // The last change of each alert comes while they still fail.
  await storm.stop()
  isOver = true
  await moody
  await quiet(places)
  await places[0]!.post('/api/v1/dead-letters/replay', { skip_resolved: false })
  await quiet(places)
  // Who was not there for a firing need not have it: only what comes from here on is for all.
  if (!isEdited) check(t, 'after the storm', storm, vendors)
  await storm.changeAll()
  await quiet(places)
  check(t, 'and after the next change of each alert', storm, vendors)
  t.comment(`seed ${seed}: answers ${JSON.stringify(storm.answers)}`)
}

/** One mood after the other; well in the end. */
async function behave(vendor: Vendor, random: () => number, goesOn: () => boolean): Promise<void> {
  while (goesOn()) {
    vendor.be(random() < 0.3 ? 'well' : moods[Math.floor(moods.length * random())]!)
    await sleep(300 + 2_000 * random())
  }
  vendor.be('well')
}

/** One of these disturbances now and then. */
async function disturb(
  by: readonly (() => Promise<void>)[],
  random: () => number,
  goesOn: () => boolean
): Promise<void> {
  while (goesOn()) {
    await sleep(500 + 2_000 * random())
    await by[Math.floor(by.length * random())]!()
  }
}

/** Killed or stopped, and started again. */
async function kill(each: Process, random: () => number): Promise<void> {
  each.run.kill(random() < 0.6 ? 'SIGKILL' : 'SIGTERM')
  await each.run.ended
  each.run = await each.place.start()
}

/** Stopped at once, or frozen, for a while. Then there is time to write what was only noted. */
async function goAway(redis: RedisServer, random: () => number): Promise<void> {
  const isFrozen = random() < 0.5
  if (isFrozen) redis.pause()
  else await redis.stop('SIGKILL')
  await sleep(200 + 2_500 * random())
  if (isFrozen) redis.resume()
  else await redis.start()
  await sleep(2_500)
}

/** One target after the other is gone for a while, or disabled. */
async function edit(
  places: readonly Place[],
  targets: readonly object[],
  random: () => number,
  goesOn: () => boolean
): Promise<void> {
  while (goesOn()) {
    const index = Math.floor(targets.length * random())
    const others = targets.filter((_, each) => each !== index)
    const edited = random() < 0.5 ? others : [...others, { ...targets[index], enabled: false }]
    for (const place of places) place.retarget(edited)
    await sleep(200 + 1_000 * random())
    for (const place of places) place.retarget(targets)
    await sleep(1_000 * random())
  }
}

/** Waits until nothing is owed, or under way. */
async function quiet(places: readonly Place[]): Promise<void> {
  for (const place of places) {
    const isBusy = async () => {
      const { queue, in_flight } = (await place.get('/status')).body
      return queue.depth !== 0 || in_flight.deliveries > 0
    }
    while (await isBusy()) await sleep(50)
  }
}

function check(t: Test, when: string, { groups }: Storm, vendors: readonly Vendor[]): void {
  const all = groups.flatMap(({ alerts }) => alerts)
  for (const { name, perGroup, open, heard } of vendors) {
    const expected = perGroup
      ? groups.map(({ key, alerts }) => [key, Number(alerts.some(({ status }) => status === 'firing'))] as const)
      : all.map(({ fingerprint, status }) => [fingerprint, Number(status === 'firing')] as const)
    const found = expected.map(([key]) => [key, open(perGroup ? groupKeyOf(key) : key)])
    if (t.strictSame(found, expected, `${name}, ${when}`)) continue
    const file = join(mkdtempSync(join(tmpdir(), 'storm-')), name)
    writeFileSync(file, heard.join('\n'))
    t.comment(`what ${name} heard is in ${file}`)
  }
}
