import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { compile, openPlace, type Run } from '../support/process.js'

const main = compile(t)

/** How a start ended that was to fail: its code, and what it said, log lines by their message. */
async function failure({ ended, output }: Run): Promise<{ code: number | null; said: string[] }> {
  const { code } = await ended
  const lines = output().trim().split('\n')
  return { code, said: lines.map(line => (line.startsWith('{') ? JSON.parse(line).msg : line)) }
}

t.test('a second process on one directory is refused, and the first one goes on', async t => {
  const place = await openPlace(t, main)
  await place.start()
  const directory = join(place.directory, 'queue')
  const { code, said } = await failure(place.spawn({ PORT: '0' }))
  t.equal(code, 1)
  t.equal(said.at(-1), `the queue directory ${directory} is in use by another process`)
  t.match(await place.get('/readyz'), { status: 200 })
})

t.test('the directory of a process that was killed is free', async t => {
  const place = await openPlace(t, main)
  for (let times = 0; times < 3; times++) {
    const run = await place.start()
    run.kill('SIGKILL')
    await run.ended
  }
  t.ok(await place.start())
})

t.test('a bad environment stops the start with one line for each problem', async t => {
  const place = await openPlace(t, main)
  const { code, said } = await failure(place.spawn({ PORT: '80800', QUEUE: 'rabbit', ACK_TIMEOUT: 'soon' }))
  t.equal(code, 1)
  t.strictSame(said.map(line => line.split(' ')[0]).sort(), ['ACK_TIMEOUT', 'PORT', 'QUEUE'])
  t.notMatch(said.join('\n'), /rabbit|soon|80800/, 'values are not repeated')
  const url = await failure(place.spawn({ QUEUE: 'redis', REDIS_URL: 'http://user:secret@redis' }))
  t.equal(url.code, 1)
  t.strictSame(url.said, ['REDIS_URL is not a Redis URL: write it as redis://user:password@host:6379/0'])
})

t.test('a port that is taken stops the start with a line that says so', async t => {
  const place = await openPlace(t, main)
  await place.start()
  const { code, said } = await failure(place.spawn({ QUEUE: 'off' }))
  t.equal(code, 1)
  t.match(said.at(-1), /EADDRINUSE/)
})

t.test('a named targets file that is not there stops the start with a line that names it', async t => {
  const place = await openPlace(t, main)
  const missing = join(place.directory, 'no-such.yaml')
  const { code, said } = await failure(place.spawn({ TARGETS_FILE: missing }))
  t.equal(code, 1)
  t.match(said.at(-1), missing)
})

t.test('an address that cannot be listened on stops the start with a line that names its variables', async t => {
  const place = await openPlace(t, main)
  const { code, said } = await failure(place.spawn({ HOST: '203.0.113.7', PORT: '8080' }))
  t.equal(code, 1)
  t.equal(said.at(-1), 'HOST 203.0.113.7, PORT 8080 cannot be listened on: EADDRNOTAVAIL')
})

t.test('a queue directory that cannot be made stops the start with a line that names it', async t => {
  const place = await openPlace(t, main)
  const file = join(place.directory, 'file')
  writeFileSync(file, 'this is no directory')
  const { code, said } = await failure(place.spawn({ QUEUE_DIR: join(file, 'queue') }))
  t.equal(code, 1)
  t.match(said.at(-1), join(file, 'queue'))
})

t.test('a queue directory that cannot be written stops the start with a line that names it', async t => {
  const place = await openPlace(t, main)
  const directory = join(place.directory, 'read-only')
  mkdirSync(directory)
  chmodSync(directory, 0o555)
  for (const path of [place.directory, dirname(dirname(main))]) chmodSync(path, 0o755)
  // Root may write everywhere: nobody may not, but must be able to read the service.
  const nobody = process.getuid?.() === 0 ? 65_534 : undefined
  if (spawnSync('test', ['-r', join(main, '../../node_modules/fastify/package.json')], { uid: nobody }).status !== 0)
    return t.pass('read-only', { skip: 'root runs this where nobody may read: run it as another user' })
  const { code, said } = await failure(place.spawn({ QUEUE_DIR: directory }, nobody))
  t.equal(code, 1)
  t.match(said.at(-1), directory)
})

t.test('a damaged queue stops the start with a line that names its directory, and leaves it as it is', async t => {
  const place = await openPlace(t, main)
  const directory = join(place.directory, 'queue')
  mkdirSync(directory, { mode: 0o700 })
  const text = 'this was a database once'.repeat(1_000)
  const file = join(directory, 'data.mdb')
  writeFileSync(file, text)
  const { code, said } = await failure(place.spawn())
  t.equal(code, 1)
  t.match(said.at(-1), directory)
  t.equal(readFileSync(file, 'utf8'), text)
})
