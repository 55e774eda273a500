import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { open as openLmdb } from 'lmdb'
import t, { type Test } from 'tap'
import { type Store, StoreUnavailable } from '../../src/queues/contract.js'
import { openDisk } from '../../src/queues/disk.js'
import { type EmbeddedOptions, embeddedStore } from '../../src/queues/embedded.js'
import { ownDirectory } from '../support/directory.js'
import { until } from '../support/looks.js'
import { needs } from '../support/programs.js'
import { place, recordsOf, reopened, storeContract } from './contract.js'

t.test('the embedded store keeps the contract', async t => {
  storeContract(t, t => subject(t, {}))
})

t.test('it keeps the contract while its tables are brought up to date all the time', async t => {
  storeContract(t, t => subject(t, { checkpointRecords: 1 }))
})

t.test('its directory is made for nobody else to read', async t => {
  const dir = join(t.testdir(), 'deep', 'queue')
  await (await embeddedStore({ dir })).close()
  t.equal(statSync(dir).mode & 0o777, 0o700)
})

t.test('a directory that is in use is refused, by its path of any length, until it is free again', async t => {
  for (const dir of [join(t.testdir(), 'queue'), join(t.testdir(), 'long'.repeat(20), 'queue'.repeat(20))]) {
    const child = storeProcess(t, 'hold', dir)
    t.equal(await child.line(), 'open')
    await t.rejects(embeddedStore({ dir }), unavailable(`the queue directory ${dir} is in use by another process`))
    child.kill('SIGKILL')
    await child.ended
    const store = await embeddedStore({ dir })
    await t.rejects(embeddedStore({ dir }), unavailable(`the queue directory ${dir} is in use by another process`))
    await store.close()
    await (await embeddedStore({ dir })).close()
  }
})

t.test('whoever opens it is told when it was last not closed', async t => {
  const dir = join(t.testdir(), 'queue')
  const opened = async () => {
    const store = await embeddedStore({ dir })
    await store.close()
    return store.interruptedAt
  }
  t.equal(await opened(), 0, 'it is new')
  t.equal(await opened(), 0, 'it was closed')
  for (let last = 0; last < 2; last++) {
    const killed = storeProcess(t, 'hold', dir)
    await killed.line()
    const before = Date.now()
    killed.kill('SIGKILL')
    await killed.ended
    const at = await opened()
    t.ok(at >= before - 1 && at <= Date.now() + 1)
    t.equal(await opened(), at, 'it is still true after it was closed')
  }
})

t.test('a directory that is removed while it is in use takes nothing more, until it is back', async t => {
  const dir = join(t.testdir(), 'queue')
  const store = await embeddedStore({ dir })
  t.teardown(() => store.close())
  const write = (n: number) => store.write([{ id: `n/${n}`, set: { n } }])
  await write(0)
  renameSync(dir, `${dir}-gone`)
  await until('the next look at it', () =>
    write(1).then(
      () => false,
      () => true
    )
  )
  await t.rejects(write(2), unavailable('the queue directory was removed: restart the service'))
  t.match(await store.status(), { available: false, warnings: [/was removed/] })
  renameSync(`${dir}-gone`, dir)
  await until('it is taken up again', () =>
    write(3).then(
      () => true,
      () => false
    )
  )
  t.equal((await store.status()).available, true)
})

t.test('of several that start at once on what a killed one left, just one gets the directory', async t => {
  const dir = join(t.testdir(), 'queue')
  const killed = storeProcess(t, 'hold', dir)
  await killed.line()
  killed.kill('SIGKILL')
  await killed.ended
  const children = [1, 2, 3, 4].map(() => storeProcess(t, 'hold', dir))
  const lines = await Promise.all(children.map(child => child.line()))
  t.strictSame(lines.sort(), [
    ...Array(3).fill(`StoreUnavailable: the queue directory ${dir} is in use by another process`),
    'open'
  ])
})

t.test(
  'after a kill at any moment everything is there that was said to be durable, and no half of a write',
  async t => {
    const dir = join(t.testdir(), 'queue')
    const durable = new Set<number>()
    for (let round = 0; round < 5; round++) {
      const child = storeProcess(t, 'write', dir, String(round * 1_000_000))
      t.equal(await child.line(), 'open')
      setTimeout(() => child.kill('SIGKILL'), 100 + Math.random() * 400)
      for (;;) {
        const line = await child.line()
        if (line === undefined) break
        durable.add(Number(line))
      }
      const store = await embeddedStore({ dir })
      const lost: number[] = []
      for (const n of durable) {
        const [entry, record] = await store.read([`entry/${n}`, `ledger/${n}`])
        if (entry?.n !== n || record?.n !== n) lost.push(n)
      }
      t.strictSame(lost, [])
      const due = await store.due('a', 'high', Infinity, 1_000_000)
      const halves = []
      for (const id of due) {
        const [entry, record] = await store.read([id, id.replace('entry/', 'ledger/')])
        if (!entry || !record) halves.push(id)
      }
      t.strictSame(halves, [])
      t.ok(due.length >= durable.size)
      await store.close()
    }
    t.comment(`${durable.size} writes were promised to be durable`)
    t.ok(durable.size > 100)
  }
)

t.test('a full disk refuses writes, keeps notes and costs nothing else; with room it goes on', async t => {
  if (!needs(t, 'prlimit')) return
  const dir = join(t.testdir(), 'queue')
  const child = storeProcess(t, 'fill', dir, '0', 20_000)
  t.equal(await child.line(), 'open')
  const full = JSON.parse((await child.line())!)
  t.strictSame(
    { ...full, written: full.written > 100 },
    {
      clear: true,
      written: true,
      write: 'StoreUnavailable: the disk of the queue directory is full',
      available: false,
      warnings: ['the disk of the queue directory is full'],
      unwritten: 1,
      seen: [null, { n: 1 }, null]
    }
  )
  await once(spawn('prlimit', ['--pid', String(child.pid), '--fsize=unlimited:']), 'exit')
  t.strictSame(JSON.parse((await child.line())!), { backend: 'embedded', available: true, warnings: [], unwritten: 0 })
  t.equal(await child.line(), 'closed')
  const store = await embeddedStore({ dir })
  t.equal(await letters(store), full.written)
  t.strictSame(await store.read(['entry/1', 'x']), [{ n: 1 }, undefined])
  await store.close()
})

/** How many dead letters there are, page by page. */
async function letters(store: Store): Promise<number> {
  let count = 0
  for (let page = await store.list('dead/', undefined, 10_000); page.length > 0; ) {
    count += page.length
    page = await store.list('dead/', page.at(-1)!.id, 10_000)
  }
  return count
}

t.test('tables that cannot be written leave the journal to go on, and get all of it once they can', async t => {
  if (!needs(t, 'prlimit')) return
  const dir = join(t.testdir(), 'queue')
  const child = storeProcess(t, 'outgrow', dir, '0', 24_000)
  t.equal(await child.line(), 'open')
  const { written, ...status } = JSON.parse((await child.line())!)
  t.strictSame(status, {
    backend: 'embedded',
    available: true,
    warnings: ['the disk of the queue directory is full'],
    unwritten: 0
  })
  t.equal(await child.line(), 'closed')
  const store = await embeddedStore({ dir, checkpointRecords: 1 })
  t.equal(await letters(store), written)
  await store.close()
  const disk = await openDisk(dir)
  t.equal(disk.size(), written)
  t.equal([...disk.journal.texts()].length, 0)
  await disk.close()
})

t.test('what cannot be a queue directory is refused with the reason', async t => {
  const dir = t.testdir({ file: 'text' })
  await t.rejects(
    embeddedStore({ dir: join(dir, 'file') }),
    unavailable(`the queue directory ${dir}/file cannot be made: EEXIST`)
  )
  await t.rejects(
    embeddedStore({ dir: join(dir, 'file', 'queue') }),
    unavailable(`the queue directory ${dir}/file/queue cannot be made: ENOTDIR`)
  )
})

t.test(
  'a directory that cannot be written is refused',
  { skip: process.getuid?.() === 0 && 'root may write everywhere' },
  async t => {
    const dir = t.testdir()
    chmodSync(dir, 0o500)
    await t.rejects(embeddedStore({ dir }), unavailable(`the queue directory ${dir} cannot be locked: EACCES`))
    chmodSync(dir, 0o700)
  }
)

const damages: Record<string, (file: string) => void> = {
  emptied: file => truncateSync(file, 0),
  'cut to a few bytes': file => truncateSync(file, 100),
  'cut in the middle of what is used': file => truncateSync(file, 40_000),
  'overwritten from the start': file => overwrite(file, 0, Buffer.alloc(16_384, 'garbage!')),
  'overwritten after its heads': file => overwrite(file, 8_192, Buffer.alloc(1_000_000, 'garbage!')),
  'zeroed after its heads': file => overwrite(file, 8_192, Buffer.alloc(1_000_000))
}
for (const [how, damage] of Object.entries(damages)) {
  t.test(`a data file that was ${how} is refused, and the process lives`, async t => {
    const dir = join(t.testdir(), 'queue')
    const store = await embeddedStore({ dir, checkpointRecords: 100 })
    for (let n = 0; n < 500; n++)
      await store.write([{ id: `entry/${n}`, set: { text: 'x'.repeat(500) }, place: place() }])
    await store.close()
    const file = join(dir, 'data.mdb')
    damage(file)
    const error = await embeddedStore({ dir }).catch((error: unknown) => error)
    t.type(error, StoreUnavailable)
    t.match((error as Error).message, `${file} is damaged (`)
    t.match((error as Error).message, 'restore the queue directory, or move it away to start with nothing')
  })
}

t.test('what the tables have by the end is not read from the journal again, however fast it came', async t => {
  const dir = join(t.testdir(), 'queue')
  for (let round = 0; round < 10; round++) {
    const store = await embeddedStore({ dir, checkpointRecords: 100 })
    for (let write = 0; write < 20; write++)
      await store.write(Array.from({ length: 100 }, (_, n) => ({ id: `entry/${round}-${write}-${n}`, set: { n } })))
    for (let n = 0; n < 30; n++) await store.write([{ id: `late/${round}-${n}`, set: { n } }])
    await store.close()
    t.notMatch(filesOf(dir).flatMap(linesOf).join(''), `entry/${round}`)
  }
})

t.test('what is marked while a large lot is journalled follows it into the journal', async t => {
  const dir = join(t.testdir(), 'queue')
  const store = await embeddedStore({ dir })
  store.note(Array.from({ length: 3_000 }, (_, n) => ({ id: `noted/${n}`, set: { n } })))
  let writing = true
  const written = store.write([{ id: 'written', set: { n: 1 } }]).finally(() => {
    writing = false
  })
  const marked: Record<string, number> = {}
  for (let n = 0; writing; n++) {
    marked[`f${n}`] = n
    store.mark('marked', `f${n}`, n, Date.now() + 3_600_000)
    await new Promise(setImmediate)
  }
  await written
  await store.close()
  const again = await embeddedStore({ dir })
  t.ok(Object.keys(marked).length > 1)
  t.strictSame(await recordsOf(again, ['marked', 'noted/2999']), [marked, { n: 2_999 }])
  await again.close()
})

t.test('what several write to one record at once is journalled as one change of it', async t => {
  const dir = join(t.testdir(), 'queue')
  const store = await embeddedStore({ dir })
  const id = 'ledger/1'
  const expiresAt = Date.now() + 3_600_000
  await store.write([{ id, set: { gone: 1, kept: 1 } }])
  const written = ['a', 'b', 'c'].map((target, n) =>
    store.write([
      { id: `entry/${target}`, set: { target }, place: place({ target }) },
      { id, set: { [target]: n, odd: undefined }, expiresAt: expiresAt + n }
    ])
  )
  t.strictSame(await recordsOf(store, [id]), [{ gone: 1, kept: 1, a: 0, b: 1, c: 2 }], 'each is read at once')
  written.push(store.write([{ id, set: { a: null, d: 3 }, tidy: true }]))
  // A note is not taken back with a write that fails, so it is no part of one; what follows it comes after it.
  store.mark(id, 'b', 'noted', expiresAt)
  written.push(store.write([{ id, set: { b: 'written' } }]), store.write([{ id, set: { gone: null } }]))
  await Promise.all(written)
  const last = { kept: 1, b: 'written', c: 2, d: 3 }
  t.strictSame(await recordsOf(store, [id]), [last])
  await store.close()
  const [, line] = linesOf(join(dir, 'journal.1'))
  const { groups } = JSON.parse(line!.subarray(9).toString()) as { groups: { changes: { id: string }[] }[] }
  t.strictSame(
    groups.map(({ changes }) => changes.map(change => change.id)),
    [['entry/a', id, 'entry/b', 'entry/c', id], [id], [id, id]]
  )
  const again = await embeddedStore({ dir })
  t.strictSame(await recordsOf(again, [id, 'entry/b']), [last, { target: 'b' }])
  await again.close()
})

t.test('the end of what waits counts also where another change of it is written at once', async t => {
  const store = await embeddedStore({ dir: join(t.testdir(), 'queue') })
  await store.write([{ id: 'entry/1', set: {}, place: place() }])
  const end = Date.now() + 200
  const written = [
    store.write([{ id: 'entry/1', set: { tries: 1 } }]),
    store.write([{ id: 'entry/1', set: { tries: 2 }, expiresAt: end }])
  ]
  t.strictSame(store.due('a', 'medium', 5_000, 10), ['entry/1'])
  await Promise.all(written)
  await until('its end is over', () => Date.now() > end)
  t.strictSame(await store.due('a', 'medium', 5_000, 10), [])
  await store.close()
})

t.test('half of a write at the end of the journal is cut off: nobody was told of it', async t => {
  const endings = {
    'half a line': (line: Buffer) => line.subarray(0, 50),
    'a whole line but for its end': (line: Buffer) => line.subarray(0, -1),
    'a line of which a part was not written': (line: Buffer) => Buffer.from(line).fill(0, 40, 60),
    zeros: () => Buffer.alloc(5_000)
  }
  for (const [what, ending] of Object.entries(endings)) {
    const dir = join(t.testdir(), what)
    const files = await journalled(dir, 3)
    const [last] = files.slice(-1)
    const [line] = linesOf(last!)
    appendFileSync(last!, ending(line!))
    for (let times = 0; times < 2; times++) {
      const store = await embeddedStore({ dir })
      t.strictSame((await store.list('entry/', undefined, 10)).length, 3 + times, what)
      await store.write([{ id: `entry/more-${times}`, set: {} }])
      await store.close()
    }
  }
})

t.test('a journal that is damaged anywhere else is refused with the line, and left as it is', async t => {
  const damages: Record<string, (files: readonly string[]) => [file: string, line: number]> = {
    'a byte of an early line is another': ([first]) => {
      overwrite(first!, 30, Buffer.from('?'))
      return [first!, 1]
    },
    'an early line is gone but for its end': ([first]) => {
      const lines = linesOf(first!)
      writeFileSync(first!, Buffer.concat([lines[0]!, lines[1]!.subarray(20), lines[2]!]))
      return [first!, 2]
    },
    'an older file ends early': ([first]) => {
      truncateSync(first!, statSync(first!).size - 5)
      return [first!, 3]
    }
  }
  for (const [what, damage] of Object.entries(damages)) {
    const dir = join(t.testdir(), what)
    await journalled(dir, 3)
    const files = await journalled(dir, 3)
    const [file, line] = damage(files)
    const before = files.map(file => readFileSync(file))
    const refusal = `${file} is damaged (line ${line}): restore the queue directory, or move it away to start with nothing`
    await t.rejects(embeddedStore({ dir }), unavailable(refusal), what)
    t.strictSame(
      files.map(file => readFileSync(file)),
      before
    )
  }
})

t.test('a journal whose tables are gone is refused: it holds only what changed since', async t => {
  const dir = join(t.testdir(), 'queue')
  await journalled(dir, 1)
  rmSync(join(dir, 'data.mdb'))
  await t.rejects(embeddedStore({ dir }), { message: /data\.mdb is damaged \(it is not there, but a journal is\)/ })
})

t.test('what entries and dead letters have in common is journalled once, and each has it all', async t => {
  const dir = join(t.testdir(), 'queue')
  const group = { name: 'an odd "name"' }
  const body = 'the very same bytes \u2028 '.repeat(50)
  const sets = ['a', 'b', 'c'].map(target => ({ target, group, body, own: [target] }))
  const ids = ['entry/a', 'entry/b', 'dead/c']
  const places = [{ place: place() }, { place: place() }, {}]
  let store = await embeddedStore({ dir })
  await Promise.all(ids.map((id, index) => store.write([{ id, set: sets[index]!, replace: true, ...places[index] }])))
  t.strictSame(await store.read(ids), sets)
  await store.write([{ id: ids[0]!, set: { body: 'another' } }])
  await store.close()
  t.equal(readFileSync(join(dir, 'journal.1'), 'utf8').split(body.slice(0, 20)).length, 51)
  for (const checkpointRecords of [1_000, 1]) {
    store = await embeddedStore({ dir, checkpointRecords })
    t.strictSame(await recordsOf(store, ids), [{ ...sets[0], body: 'another' }, ...sets.slice(1)])
    t.equal(await store.owed('a'), 2)
    await store.close()
  }
})

for (const schema of ['1', '2']) {
  t.test(`a directory of schema ${schema} is upgraded, with what its journal holds`, async t => {
    const dir = join(t.testdir(), 'queue')
    await older(dir, schema)
    for (let times = 0; times < 2; times++) {
      const store = await embeddedStore({ dir })
      t.strictSame(await store.read(['entry/1', 'entry/2']), [{ n: 1 }, { n: 2 }])
      t.strictSame(await store.due('a', 'medium', 5_000, 10), ['entry/1', 'entry/2'])
      t.strictSame(await store.depths(), [
        { target: 'a', counts: { high: 0, medium: 2, low: 0 }, oldest: { medium: 7 } }
      ])
      await store.close()
    }
  })
}

t.test('a directory of a newer form is refused, and left as it is', async t => {
  const dir = join(t.testdir(), 'queue')
  await older(dir, '4')
  const before = readFileSync(join(dir, 'data.mdb')).subarray(0, 8_192)
  const refusal = 'the queue directory has schema 4, this version knows 3: use the newer version again'
  await t.rejects(embeddedStore({ dir }), unavailable(refusal))
  t.strictSame(readFileSync(join(dir, 'data.mdb')).subarray(0, 8_192), before)
})

t.test('what has expired leaves the tables too', async t => {
  const dir = join(t.testdir(), 'queue')
  const options = { checkpointRecords: 1, sweepMs: 5, noteDelayMs: 1 }
  let store = await embeddedStore({ dir, ...options })
  const expiresAt = Date.now() + 200
  await store.write(Array.from({ length: 3_000 }, (_, n) => ({ id: `ledger/${n}`, set: { n }, expiresAt })))
  await store.write([{ id: 'ledger/stays', set: { n: 1 } }])
  for (let left = Infinity; left !== 1; ) {
    await new Promise(resolve => setTimeout(resolve, 300))
    await store.close()
    const disk = await openDisk(dir)
    left = disk.size()
    await disk.close()
    store = await embeddedStore({ dir, ...options })
  }
  t.strictSame(await store.read(['ledger/0', 'ledger/stays']), [undefined, { n: 1 }])
  await store.close()
})

t.test(
  'what a close left in the journal reaches the tables after the next start, though nothing else is written',
  async t => {
    const dir = join(t.testdir(), 'queue')
    const before = await embeddedStore({ dir })
    await before.write([{ id: 'ledger/1', set: { n: 1 } }])
    await before.close()
    await (await embeddedStore({ dir, checkpointRecords: 1 })).close()
    const disk = await openDisk(dir)
    t.equal(disk.size(), 1)
    await disk.close()
  }
)

t.test('after it was closed it takes nothing more', async t => {
  const store = await embeddedStore({ dir: join(t.testdir(), 'queue') })
  await store.close()
  await store.close()
  store.note([{ id: 'x', set: { a: 1 } }])
  await t.rejects(store.write([{ id: 'x', set: { a: 1 } }]), unavailable('the queue is closed'))
})

function unavailable(message: string) {
  return { name: 'StoreUnavailable', message }
}

function subject(t: Test, options: Partial<EmbeddedOptions>) {
  const dir = ownDirectory(t)
  return reopened(() => embeddedStore({ dir, ...options }))
}

/** Writes so many entries, one after another, and closes; the files of the journal. */
async function journalled(dir: string, count: number) {
  const store = await embeddedStore({ dir })
  for (let n = 0; n < count; n++) await store.write([{ id: `entry/${n}`, set: { n, text: 'x'.repeat(100) } }])
  await store.close()
  return filesOf(dir)
}

function filesOf(dir: string): string[] {
  const files = readdirSync(dir).filter(name => name.startsWith('journal.'))
  return files.sort().map(name => join(dir, name))
}

function linesOf(file: string): Buffer[] {
  const lines = readFileSync(file, 'utf8').match(/.*\n/g) ?? []
  return lines.map(line => Buffer.from(line))
}

/** A directory as schema 1 had it, under whatever schema number: the journal is a table; in 1, places have no priority. */
async function older(dir: string, schema: string) {
  const priority = schema === '1' ? [] : ['medium']
  const env = openLmdb<string, string>({ path: dir, noSubdir: false, encoding: 'string', maxDbs: 8 })
  const table = (name: string) => env.openDB<string, string>({ name, encoding: 'string' })
  await table('meta').put('schema', schema)
  await table('records').put('entry/1', 'Infinity;{"n":1}')
  await table('places').put('entry/1', JSON.stringify(['a', ...priority, 1_000, 7, null]))
  const changes = [
    { id: 'entry/2', set: { n: 2 }, place: { target: 'a', priority: priority[0], dueAt: 2_000, acceptedAt: 8 } }
  ]
  const entry = JSON.stringify({ next: 5, groups: [{ at: Date.now(), changes }] })
  await env.openDB<string, number>({ name: 'journal', encoding: 'string' }).put(1, entry)
  await env.close()
}

function overwrite(file: string, position: number, bytes: Buffer) {
  const whole = readFileSync(file)
  bytes.copy(whole, position)
  writeFileSync(file, whole)
}

/**
 * Without tap's own options, whose handler would end it at the file limit. `fileBlocks`: how many blocks of 1 KiB its files may have; a
 * soft limit, so that it can be lifted again.
 */
function storeProcess(t: Test, task: string, dir: string, first = '0', fileBlocks?: number) {
  const script = fileURLToPath(new URL('../support/store-child.ts', import.meta.url))
  const limit = fileBlocks ? `trap "" XFSZ; ulimit -S -f ${fileBlocks}; ` : ''
  const command = `unset NODE_OPTIONS; ${limit}exec "$0" --import tsx "$@"`
  const child = spawn('bash', ['-c', command, process.execPath, script, task, dir, first], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(child, 'exit')
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  return {
    pid: child.pid,
    ended,
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    line: async (): Promise<string | undefined> => (await lines.next()).value
  }
}
