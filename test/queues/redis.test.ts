import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { type Hold, Overtaken, type Store } from '../../src/queues/contract.js'
import { redisStore } from '../../src/queues/redis.js'
import { Secret } from '../../src/secret.js'
import { needs } from '../support/programs.js'
import { type RedisServer, startRedis } from '../support/redis.js'
import { place, reopened, storeContract } from './contract.js'

if (needs(t, 'redis-server')) tests()

function tests() {
  t.test('the redis store keeps the contract', async t => {
    const server = await startRedis(t)
    storeContract(t, async () => {
      const admin = new Redis(server.url.reveal())
      await admin.flushall()
      await admin.quit()
      return reopened(() => redisStore({ url: server.url }))
    })
  })

  t.test('it says that others share it', async t => {
    const { store } = await opened(t)
    const { backend, durable, shared } = store
    t.strictSame({ backend, durable, shared }, { backend: 'redis', durable: true, shared: true })
  })

  for (const how of ['stopped', 'killed', 'frozen'] as const) {
    t.test(
      `while Redis is ${how} everything fails soon, notes are kept and lanes are given; then it goes on`,
      async t => {
        const { server, store } = await opened(t)
        await store.write([{ id: 'entry/1', set: { n: 1 }, place: place() }])
        if (how === 'frozen') server.pause()
        else await server.stop(how === 'killed' ? 'SIGKILL' : 'SIGTERM')
        await t.rejects(Promise.resolve(store.read(['entry/1'])), unreachable)
        await t.rejects(store.write([{ id: 'entry/2', set: { n: 2 } }]), unreachable)
        await t.rejects(Promise.resolve(store.next()), unreachable)
        await t.rejects(Promise.resolve(store.due('a', 'high', 1, 1)), unreachable)
        await t.rejects(Promise.resolve(store.depths()), unreachable)
        store.note([{ id: 'entry/1', set: { noted: true } }])
        store.note([{ id: 'entry/1', place: null }])
        const hold = await store.hold(['a/1'])
        t.equal(hold?.valid(), true)
        t.strictSame(await store.status(), {
          backend: 'redis',
          available: false,
          warnings: ['Redis is not reachable'],
          unwritten: 2
        })
        if (how === 'frozen') server.resume()
        else await server.start()
        await until(async () => (await store.status()).available)
        t.strictSame(await store.read(['entry/1']), [{ n: 1, noted: true }])
        t.equal(await store.owed('a'), 0)
        await store.write([{ id: 'entry/2', set: { n: 3 } }], hold)
        await until(async () => (await store.status()).unwritten === 0)
        t.strictSame(await store.status(), { backend: 'redis', available: true, warnings: [], unwritten: 0 })
        store.release(hold!)
      }
    )
  }

  t.test('what was acknowledged is there after Redis was killed', async t => {
    const { server, store } = await opened(t)
    let acknowledged = 0
    const write = async () => {
      for (;;) {
        const n = acknowledged
        await store.write([{ id: `entry/${n}`, set: { n }, place: place() }])
        acknowledged++
      }
    }
    const stopped = write().catch(error => error)
    await until(async () => acknowledged > 50)
    await server.stop('SIGKILL')
    t.match(await stopped, unreachable)
    await server.start()
    await until(async () => (await store.status()).available)
    const found = await store.read(Array.from({ length: acknowledged }, (_, n) => `entry/${n}`))
    t.ok(found.every((fields, n) => fields?.n === n))
  })

  t.test('a Redis that may forget is told of, until it no longer may', async t => {
    const { server, store } = await opened(t, '--appendonly', 'no', '--maxmemory-policy', 'allkeys-lru')
    t.strictSame((await store.status()).warnings, [
      'Redis has its append-only file off: what is owed is lost when it restarts (set appendonly yes)',
      'Redis may evict what is owed (maxmemory-policy allkeys-lru): set it to noeviction'
    ])
    await server.stop()
    await server.start()
    await until(async () => (await store.status()).available)
    t.strictSame((await store.status()).warnings, [])
  })

  t.test('a full Redis refuses writes and keeps notes; with room it goes on', async t => {
    const { server, store } = await opened(t)
    const admin = await adminOf(t, server)
    await admin.config('SET', 'maxmemory', '1mb')
    await t.rejects(store.write([{ id: 'entry/1', set: { n: 1 }, place: place() }]), {
      name: 'StoreUnavailable',
      message: 'Redis is full: it has reached maxmemory'
    })
    store.note([{ id: 'entry/2', set: { n: 2 } }])
    await until(async () => (await store.status()).unwritten === 1)
    t.match(await store.status(), { available: false, warnings: ['Redis is full: it has reached maxmemory'] })
    t.strictSame(await store.read(['entry/1', 'entry/2']), [undefined, { n: 2 }], 'it knows what it noted itself')
    t.equal(await store.owed('a'), 0)
    await admin.config('SET', 'maxmemory', '0')
    await store.write([{ id: 'entry/1', set: { n: 1 }, place: place() }])
    await until(async () => (await store.status()).unwritten === 0)
    t.strictSame(await store.read(['entry/1', 'entry/2']), [{ n: 1 }, { n: 2 }])
    t.match(await store.status(), { available: true, warnings: [] })
  })

  t.test('a list of what is large comes in pages of about a megabyte, and with no more than is asked for', async t => {
    const { store } = await opened(t)
    const text = 'x'.repeat(300_000)
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) await store.write([{ id: `dead/${id}`, set: { id, text } }])
    const first = await store.list('dead/', undefined, 10)
    t.strictSame(
      first.map(({ fields }) => fields.id),
      ['a', 'b', 'c', 'd']
    )
    t.strictSame(
      (await store.list('dead/', 'dead/d', 10)).map(({ fields }) => fields.id),
      ['e', 'f']
    )
    t.strictSame(
      (await store.list('dead/', undefined, 10, ['id'])).map(({ fields }) => fields),
      [...['a', 'b', 'c', 'd', 'e', 'f'].map(id => ({ id }))]
    )
  })

  t.test('scripts that Redis has lost are given to it again', async t => {
    const { server, store } = await opened(t)
    const admin = await adminOf(t, server)
    await admin.script('FLUSH')
    await store.write([{ id: 'x', set: { a: 1 } }])
    t.strictSame(await store.read(['x']), [{ a: 1 }])
  })

  t.test('of two processes one gets a lane, and the other none of those it asked for', async t => {
    const { server, store: a } = await opened(t)
    const b = await another(t, server)
    const held = await a.hold(['t/1', 't/2'])
    t.ok(held?.valid())
    t.equal(await b.hold(['t/2', 't/3']), undefined)
    t.ok(await a.hold(['t/3']))
    a.release(held!)
    await until(async () => (await b.hold(['t/1', 't/2'])) !== undefined)
  })

  t.test('whose lanes are taken is told to everybody, until they are given back', async t => {
    const { server, store: a } = await opened(t)
    const b = await another(t, server)
    const held = (await a.hold(['t/1', 't/2']))!
    for (const each of [a, b]) t.strictSame(await each.taken!(['t/3', 't/2', 't/1']), ['t/2', 't/1'])
    a.release(held)
    await until(async () => (await b.taken!(['t/1', 't/2'])).length === 0)
    t.strictSame(await b.taken!([]), [])
    t.ok(await b.hold(['t/1']), 'to ask takes nothing')
    await server.stop()
    await t.rejects(b.taken!(['t/1']), unreachable)
  })

  t.test('under contention no lane is ever held twice', async t => {
    const { server, store } = await opened(t)
    const stores = [store, await another(t, server), await another(t, server)]
    const holders = new Map<string, Store>()
    const clashes: string[] = []
    let times = 0
    const contend = async (mine: Store) => {
      for (let round = 0; round < 60; round++) {
        const lanes = ['1', '2', '3', '4'].filter(() => Math.random() < 0.5)
        if (lanes.length === 0) continue
        const hold = await mine.hold(lanes)
        if (!hold) continue
        times++
        for (const lane of lanes) {
          if (holders.has(lane)) clashes.push(lane)
          holders.set(lane, mine)
        }
        await mine.next()
        for (const lane of lanes) holders.delete(lane)
        mine.release(hold)
      }
    }
    await Promise.all(stores.map(contend))
    t.strictSame(clashes, [])
    t.ok(times > 30)
  })

  t.test('a lease is renewed while its process lives, and ends by itself once that was killed', async t => {
    const { server, store } = await opened(t)
    const child = spawn(
      'bash',
      [
        '-c',
        'unset NODE_OPTIONS; exec "$0" --import tsx "$@"',
        process.execPath,
        childScript,
        server.url.reveal(),
        '600',
        't/1'
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] }
    )
    t.teardown(() => child.kill('SIGKILL'))
    const [said] = await once(child.stdout, 'data')
    t.equal(String(said), 'held\n')
    const end = Date.now() + 1_500
    while (Date.now() < end) {
      if (await store.hold(['t/1'])) t.fail('the lane was given away while its holder lived')
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    child.kill('SIGKILL')
    let hold: Hold | undefined
    await until(async () => (hold = await store.hold(['t/1', 't/2'])) !== undefined)
    t.strictSame(hold!.inherited, ['t/1'], 'it tells of which lane')
    store.release(hold!)
    t.strictSame((await store.hold(['t/1', 't/2']))!.inherited, [], 'once')
  })

  t.test('a process that closes leaves its lanes at once, also those that it gave back just before', async t => {
    const { server, store: a } = await opened(t)
    const b = await another(t, server)
    const given = (await a.hold(['t/1']))!
    await a.hold(['t/2'])
    a.release(given)
    await a.close()
    t.ok(await b.hold(['t/1', 't/2']))
  })

  t.test('a write under a lost lease is refused and changes nothing', async t => {
    const { server, store } = await opened(t)
    const admin = await adminOf(t, server)
    const hold = (await store.hold(['t/1', 't/2']))!
    await store.write([{ id: 'x', set: { a: 1 } }], hold)
    await admin.set('{alert-fanout}:l:t/2', 'somebody else')
    await t.rejects(store.write([{ id: 'x', set: { a: 2 } }], hold), {
      name: 'StoreUnavailable',
      message: 'another process may have taken over: the lease was lost'
    })
    t.strictSame(await store.read(['x']), [{ a: 1 }])
    await until(async () => !hold.valid())
    t.equal((await store.status()).available, true)
  })

  t.test('a write that goes by what has changed meanwhile changes nothing', async t => {
    const { server, store: a } = await opened(t)
    const b = await another(t, server)
    const goingBy = (was: unknown, n: number) => [
      { id: 'x', set: { n } },
      { id: 'y', set: { state: n }, was: { state: was } }
    ]
    await a.write(goingBy(null, 1))
    await b.write(goingBy(1, 2))
    for (const was of [1, null]) {
      const error = await a.write(goingBy(was, 3)).catch((error: unknown) => error)
      t.ok(error instanceof Overtaken)
    }
    t.strictSame(await a.read(['x', 'y']), [{ n: 2 }, { state: 2 }])
    await a.write([{ id: 'y', set: { other: 1 }, expiresAt: 1 }])
    await a.write(goingBy(null, 4))
    t.strictSame(await a.read(['x', 'y']), [{ n: 4 }, { state: 4 }], 'what has expired is gone')
    t.equal((await a.status()).available, true)
  })

  t.test('a lane that is taken again by the same process is not lost to its earlier release', async t => {
    const { server, store: a } = await opened(t)
    const b = await another(t, server)
    const first = (await a.hold(['t/1']))!
    const second = (await a.hold(['t/1']))!
    a.release(first)
    t.equal(await b.hold(['t/1']), undefined)
    await a.write([{ id: 'x', set: { a: 1 } }], second)
    a.release(second)
    await until(async () => (await b.hold(['t/1'])) !== undefined)
  })

  t.test('what one writes the other reads, and numbers grow across both', async t => {
    const { server, store: a } = await opened(t)
    const b = await another(t, server)
    const numbers: number[] = []
    for (let round = 0; round < 20; round++) numbers.push(await a.next(), await b.next())
    t.ok(numbers.every((number, index) => index === 0 || number > numbers[index - 1]!))
    await a.write([{ id: 'entry/1', set: { n: 1 }, place: place() }])
    t.strictSame(await b.due('a', 'medium', 5_000, 1), ['entry/1'])
    await b.write([{ id: 'entry/1', drop: true }])
    t.strictSame(await a.read(['entry/1']), [undefined])
  })

  t.test(
    'a Redis that is not there, or wants another password, is refused at the start without telling the password',
    async t => {
      const server = await startRedis(t, '--requirepass', 'open-sesame')
      const cases = [
        { url: 'redis://:hunter2@127.0.0.1:1', message: 'Redis is not reachable' },
        { url: server.url.reveal(), message: 'Redis wants a password' },
        { url: server.url.reveal().replace('//', '//:hunter2@'), message: 'Redis refused the password' }
      ]
      for (const { url, message } of cases) {
        const error = await redisStore({ url: new Secret(url) }).catch((error: unknown) => error)
        t.match(error, { name: 'StoreUnavailable', message })
        t.notMatch(inspect(error, { depth: 10 }), /hunter2/)
      }
      const store = await redisStore({ url: new Secret(server.url.reveal().replace('//', '//:open-sesame@')) })
      t.equal((await store.status()).available, true)
      await store.close()
    }
  )

  t.test('only entries and dead letters can be listed', async t => {
    const { store } = await opened(t)
    await t.rejects(store.list('alert/', undefined, 1), { message: 'records under alert/ cannot be listed' })
  })
}

const unreachable = { name: 'StoreUnavailable', message: 'Redis is not reachable' }
const childScript = fileURLToPath(new URL('../support/redis-child.ts', import.meta.url))

async function opened(t: Test, ...args: string[]): Promise<{ server: RedisServer; store: Store }> {
  const server = await startRedis(t, ...args)
  return { server, store: await another(t, server) }
}

async function another(t: Test, { url }: RedisServer): Promise<Store> {
  const store = await redisStore({ url, leaseMs: 3_000 })
  t.teardown(() => store.close())
  return store
}

async function adminOf(t: Test, { url }: RedisServer): Promise<Redis> {
  const admin = new Redis(url.reveal())
  t.teardown(() => admin.disconnect())
  return admin
}

/** The test's own timeout ends the wait. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise(resolve => setTimeout(resolve, 20))
}
