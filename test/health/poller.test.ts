import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import t, { type Test } from 'tap'
import { type Check, createCheck } from '../../src/health/check.js'
import { createPoller, type PollRules, pollDelayMs } from '../../src/health/poller.js'
import { type Health, unknownHealth } from '../../src/health/state.js'
import { createLive, type LiveTarget } from '../../src/pipeline/live.js'
import { egress } from '../../src/targets/egress.js'
import { failure } from '../../src/targets/failures.js'
import { targetOf } from '../support/drive.js'
import { collectGarbage } from '../support/garbage.js'
import { until } from '../support/looks.js'
import { testNow } from '../support/messages.js'

const overTheNetwork = createCheck(egress([], []), 'alert-fanout/test')
const hour = 3_600_000

/** A poller whose events are kept; it is stopped when the test ends. */
function pollerOf(t: Test, { check = overTheNetwork, ...rules }: Partial<PollRules> & { check?: Check } = {}) {
  const events: { name: string; before: Health; after: Health; durationMs: number }[] = []
  const poller = createPoller({
    check,
    rules: { intervalMs: hour, timeoutMs: 5_000, failureThreshold: 3, degradedMs: 2_000, maxConcurrent: 10, ...rules },
    events: {
      checked: (live, before, durationMs) =>
        void events.push({ name: live.name, before, after: live.health, durationMs })
    },
    now: () => testNow,
    random: Math.random
  })
  t.teardown(() => poller.stop())
  return { poller, events, names: () => events.map(({ name }) => name) }
}

const liveOf = (settings: object = {}): LiveTarget =>
  createLive(targetOf({ type: 'webhook', url: 'http://127.0.0.1:9/', ...settings }))

/** Checks that end when they are told to. */
function checkByHand() {
  const waiting: { name: string; signal: AbortSignal; end: (reason?: 'connection') => void }[] = []
  const check: Check = ({ name }, { signal }) =>
    new Promise(resolve => {
      const end = (reason?: 'connection') => {
        waiting.splice(waiting.indexOf(one), 1)
        resolve(reason && failure(reason, 'it failed'))
      }
      const one = { name, signal, end }
      waiting.push(one)
      signal.addEventListener('abort', () => end('connection'))
    })
  return { check, waiting, running: () => waiting.map(({ name }) => name) }
}

/** A server whose answers a test writes itself. */
async function serverOf(t: Test, answer: (response: ServerResponse) => void) {
  const sockets = new Set<Socket>()
  const server = createServer((_, response) => answer(response))
  server.on('connection', socket => sockets.add(socket.on('close', () => sockets.delete(socket))))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, connected: () => sockets.size }
}

t.test('the next check comes after the interval, sooner while unhealthy, and never at the very same time', async t => {
  const delays = (status: Health['status'], intervalMs: number) =>
    [0, 0.5, 1].map(random => Math.round(pollDelayMs(status, { intervalMs }, random)))
  t.same(delays('healthy', 120_000), [108_000, 120_000, 132_000])
  t.same(delays('degraded', 120_000), [108_000, 120_000, 132_000])
  t.same(delays('unknown', 120_000), [108_000, 120_000, 132_000])
  t.same(delays('unhealthy', 120_000), [27_000, 30_000, 33_000])
  t.same(delays('unhealthy', 10_000), [9_000, 10_000, 11_000])
})

t.test('a new target is checked at once, and its health and the event tell the result', async t => {
  const { url } = await serverOf(t, response => void response.end())
  const { poller, events } = pollerOf(t)
  const live = liveOf({ name: 'hook', url })
  poller.start()
  poller.appeared(live)
  await until('it was checked', () => events.length === 1)
  const [{ durationMs, ...event }] = events as [(typeof events)[0]]
  t.ok(durationMs > 0)
  const health: Health = {
    ...unknownHealth,
    status: 'healthy',
    latencyMs: durationMs,
    lastCheck: testNow,
    lastSuccess: testNow,
    consecutiveFailures: 0,
    checks: 1,
    successes: 1
  }
  t.strictSame(event, { name: 'hook', before: unknownHealth, after: health })
  t.equal(live.health, event.after)
})

t.test('what appeared before the start is checked after it', async t => {
  const { check, running } = checkByHand()
  const { poller } = pollerOf(t, { check })
  poller.appeared(liveOf({ name: 'early' }))
  await new Promise(resolve => setImmediate(resolve))
  t.same(running(), [])
  poller.start()
  await until('it is checked', () => running().length === 1)
  t.same(running(), ['early'])
})

t.test('targets are checked again and again, each by itself', async t => {
  const { poller, names } = pollerOf(t, { intervalMs: 5 })
  const server = await serverOf(t, response => void response.end())
  poller.start()
  const lives = ['a', 'b', 'c'].map(name => liveOf({ name, url: server.url }))
  for (const live of lives) poller.appeared(live)
  await until('each was checked five times', () => lives.every(({ health }) => health.checks >= 5))
  const checks = lives.map(({ name, health }) => [name, health.checks])
  t.same(
    checks,
    lives.map(({ name }) => [name, names().filter(one => one === name).length])
  )
  t.ok(lives.every(({ health }) => health.status === 'healthy'))
})

t.test('a flapping target is degraded, then unhealthy, and healthy after one success', async t => {
  let status = 200
  const { url } = await serverOf(t, response => void response.writeHead(status).end())
  const { poller } = pollerOf(t)
  const live = liveOf({ url, health: { path: '/' } })
  poller.start()
  const seen: object[] = []
  for (status of [200, 503, 503, 200, 503, 503, 503, 503, 404]) {
    const { consecutiveFailures, errorReason, ...health } = await poller.checkNow(live)
    seen.push([status, health.status, consecutiveFailures, errorReason])
  }
  t.same(seen, [
    [200, 'healthy', 0, undefined],
    [503, 'degraded', 1, 'server_error'],
    [503, 'degraded', 2, 'server_error'],
    [200, 'healthy', 0, undefined],
    [503, 'degraded', 1, 'server_error'],
    [503, 'degraded', 2, 'server_error'],
    [503, 'unhealthy', 3, 'server_error'],
    [503, 'unhealthy', 4, 'server_error'],
    [404, 'healthy', 0, undefined]
  ])
  t.match(live.health, { checks: 9, successes: 3 })
})

t.test('a slow target is degraded, a hanging one fails by timeout', async t => {
  const slow = await serverOf(t, response => void setTimeout(() => response.end(), 60))
  const hanging = await serverOf(t, () => {})
  const { poller } = pollerOf(t, { degradedMs: 30, timeoutMs: 2_000 })
  const impatient = pollerOf(t, { timeoutMs: 40 })
  poller.start()
  impatient.poller.start()
  const health = { path: '/' }
  t.match(await poller.checkNow(liveOf({ url: slow.url, health })), { status: 'degraded', consecutiveFailures: 0 })
  t.match(await impatient.poller.checkNow(liveOf({ url: hanging.url, health })), {
    status: 'degraded',
    consecutiveFailures: 1,
    errorReason: 'timeout'
  })
})

t.test('a disabled target is not polled, but may be checked by hand', async t => {
  const { check, running, waiting } = checkByHand()
  const { poller, names } = pollerOf(t, { check, intervalMs: 1 })
  const live = liveOf({ name: 'off', enabled: false })
  poller.start()
  poller.appeared(live)
  poller.appeared(liveOf({ name: 'on' }))
  await until('the other is checked', () => running().length > 0)
  t.same(running(), ['on'])
  const asked = poller.checkNow(live)
  await until('it is checked', () => running().includes('off'))
  for (const { end } of [...waiting]) end()
  t.match(await asked, { status: 'healthy', checks: 1 })
  await until('the other is checked again', () => running().length > 0)
  t.same(running(), ['on'])
  t.same(names().sort(), ['off', 'on'])
})

t.test('a target that is switched off while it waits or is checked is left alone', async t => {
  const { check, running } = checkByHand()
  const { poller, events } = pollerOf(t, { check, maxConcurrent: 1 })
  const [first, second] = [liveOf({ name: 'first' }), liveOf({ name: 'second' })]
  poller.start()
  poller.appeared(first)
  poller.appeared(second)
  await until('the first is checked', () => running().length === 1)
  for (const live of [second, first]) {
    live.target = targetOf({ type: 'webhook', name: live.name, url: 'http://127.0.0.1:9/', enabled: false })
    poller.appeared(live)
  }
  const last = liveOf({ name: 'last' })
  poller.appeared(last)
  await until('the last is checked', () => running().includes('last'))
  t.same(running(), ['last'])
  t.same(events, [])
})

t.test('checks by hand join the one that waits or runs, and never overlap it', async t => {
  const { check, running, waiting } = checkByHand()
  const { poller, events } = pollerOf(t, { check, maxConcurrent: 1 })
  const [busy, live] = [liveOf({ name: 'busy' }), liveOf({ name: 'live' })]
  poller.start()
  poller.appeared(busy)
  await until('one is checked', () => running().length === 1)
  poller.appeared(live)
  const asked = [poller.checkNow(live), poller.checkNow(live)]
  waiting[0]!.end()
  await until('the other is checked', () => running().includes('live'))
  asked.push(poller.checkNow(live))
  t.same(running(), ['live'])
  waiting[0]!.end('connection')
  const results = await Promise.all(asked)
  t.match(results[0], { status: 'degraded', errorReason: 'connection', checks: 1 })
  t.same(results, [live.health, live.health, live.health])
  t.equal(events.length, 2)
})

t.test('no more checks run at once than the rules allow', async t => {
  const { check, running, waiting } = checkByHand()
  const { poller, names } = pollerOf(t, { check, maxConcurrent: 3 })
  const all = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
  poller.start()
  for (const name of all) poller.appeared(liveOf({ name }))
  let most = 0
  while (names().length < all.length) {
    await until('checks run', () => running().length === Math.min(3, all.length - names().length))
    most = Math.max(most, running().length)
    waiting[0]!.end()
    const done = names().length
    await until('it ended', () => names().length > done)
  }
  t.equal(most, 3)
  t.same(names().sort(), all)
})

t.test('a target that changes while it is checked is checked anew, and the old result is dropped', async t => {
  const { check, running, waiting } = checkByHand()
  const { poller, events } = pollerOf(t, { check })
  const live = liveOf({ name: 'live' })
  poller.start()
  poller.appeared(live)
  await until('it is checked', () => running().length === 1)
  const asked = poller.checkNow(live)
  const before = waiting[0]!
  live.target = targetOf({ type: 'webhook', name: 'live', url: 'http://127.0.0.1:10/' })
  poller.appeared(live)
  t.ok(before.signal.aborted)
  await until('it is checked anew', () => waiting[0] !== undefined && waiting[0] !== before)
  t.same(running(), ['live'])
  waiting[0]!.end()
  t.match(await asked, { status: 'healthy', checks: 1 })
  t.equal(events.length, 1)
})

t.test('the check of a target that goes is broken off, and tells nothing', async t => {
  const { check, running, waiting } = checkByHand()
  const { poller, events } = pollerOf(t, { check, intervalMs: 1 })
  const live = liveOf({ name: 'live' })
  poller.start()
  poller.appeared(live)
  await until('it is checked', () => running().length === 1)
  const asked = poller.checkNow(live)
  live.present = false
  poller.gone(live)
  t.strictSame(await asked, unknownHealth)
  t.strictSame(await poller.checkNow(live), unknownHealth)
  t.same([running(), events], [[], []])

  live.present = true
  poller.appeared(live)
  await until('it is checked on its return', () => running().length === 1)
  waiting[0]!.end()
  await until('that counts', () => events.length === 1)
})

t.test('a check that throws is a failed one, and the others go on', async t => {
  const { poller, names } = pollerOf(t, {
    intervalMs: 1,
    check: () => {
      throw new Error('a bug')
    }
  })
  const live = liveOf({ name: 'live' })
  poller.start()
  poller.appeared(live)
  await until('it was checked three times', () => names().length >= 3)
  t.match(live.health, { status: 'unhealthy', errorReason: 'internal', consecutiveFailures: names().length })
})

t.test('stopping breaks off what runs, starts nothing more, and leaves nobody waiting', async t => {
  const { check, running } = checkByHand()
  const { poller, events } = pollerOf(t, { check, maxConcurrent: 1, intervalMs: 1 })
  const [first, second] = [liveOf({ name: 'first' }), liveOf({ name: 'second' })]
  poller.start()
  poller.appeared(first)
  await until('one is checked', () => running().length === 1)
  const asked = [poller.checkNow(first), poller.checkNow(second)]
  await poller.stop()
  t.strictSame(await Promise.all([...asked, poller.checkNow(first)]), [unknownHealth, unknownHealth, unknownHealth])
  poller.appeared(liveOf({ name: 'third' }))
  await new Promise(resolve => setImmediate(resolve))
  t.same([running(), events], [[], []])
})

t.test('10,000 targets that appear, are checked and go leave no timer, no socket and no memory behind', async t => {
  const { url, connected } = await serverOf(t, response => void response.end())
  const hanging = await serverOf(t, () => {})
  const { poller, events } = pollerOf(t, { maxConcurrent: 100 })
  poller.start()
  const timersAndSockets = () =>
    process
      .getActiveResourcesInfo()
      .filter(name => /Timeout|TCP|TLS|AddrInfo/.test(name))
      .sort()

  const comeAndGo = async () => {
    const settings = (index: number) =>
      index % 3 === 0
        ? { url: hanging.url, health: { path: '/' } }
        : { url, ...(index % 3 === 1 ? { health: { path: '/' } } : {}) }
    const lives = Array.from({ length: 10_000 }, (_, index) => liveOf({ name: `t-${index}`, ...settings(index) }))
    for (const live of lives) poller.appeared(live)
    const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
    const before = timers()
    await until('hanging ones fill all places', () => hanging.connected() === 100)
    const most = timers() - before
    for (const live of lives) {
      live.present = false
      poller.gone(live)
    }
    await until('no check is connected any more', () => connected() + hanging.connected() === 0)
    return { checked: events.splice(0).length, most }
  }

  const idle = timersAndSockets()
  const rounds = []
  for (let round = 0; round < 4; round++) {
    const { checked, most } = await comeAndGo()
    await new Promise(resolve => setImmediate(resolve))
    collectGarbage()
    rounds.push({ checked, most, bytes: process.memoryUsage().heapUsed })
    t.same(timersAndSockets(), idle, `round ${round + 1}`)
  }
  const grown = rounds[3]!.bytes - rounds[1]!.bytes
  t.comment(
    `checked ${rounds.map(({ checked }) => checked)}, heap grew by ${Math.round(grown / 1024)} KiB in two rounds`
  )
  t.ok(rounds.every(({ checked }) => checked > 100))
  t.ok(
    rounds.every(({ most }) => most <= 101),
    'one timer for all that wait, and one for each check'
  )
  t.ok(grown < 5 * 1024 * 1024, `${grown} bytes`)
})
