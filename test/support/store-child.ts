import { type Change, StoreUnavailable } from '../../src/queues/contract.js'
import { embeddedStore } from '../../src/queues/embedded.js'

/** A process that uses a queue directory: started by tests that need a second one, or one to kill. */
const [task, dir, first] = process.argv.slice(2) as ['hold' | 'write' | 'fill' | 'outgrow', string, string]
const say = (line: string) => process.stdout.write(`${line}\n`)

try {
  const store = await embeddedStore({ dir, checkpointRecords: 400 })
  say('open')
  if (task === 'hold') setInterval(() => {}, 1_000)
  if (task === 'write') for (let worker = 0; worker < 16; worker++) void write(worker)
  if (task === 'fill') await fill()
  if (task === 'outgrow') await outgrow()

  /** Writes numbers in pairs of records for ever and says each that was promised to be durable. */
  async function write(worker: number) {
    for (let n = Number(first) + worker; ; n += 16) {
      await store.write([owed(n), { id: `ledger/${n}`, set: { n } }])
      store.note([{ id: `ledger/${n}`, set: { noted: true } }])
      say(String(n))
    }
  }

  /** Writes until there is no room even for little, tells what that looks like, and goes on once there is room again. */
  async function fill() {
    let written = 0
    let refused: unknown
    for (const bytes of [100_000, 2_000]) {
      refused = undefined
      await pause(1_100)
      while (!refused) {
        const change = { id: `dead/${written}`, set: { text: 'x'.repeat(bytes) } }
        await store.write([change]).then(
          () => written++,
          error => {
            refused = error
          }
        )
      }
    }
    const write = store.write([{ id: 'x', set: { a: 1 } }]).catch(String)
    store.note([owed(1)])
    const { available, warnings, unwritten } = await store.status()
    const seen = store.read(['x', 'entry/1', `dead/${written}`])
    say(
      JSON.stringify({
        clear: refused instanceof StoreUnavailable,
        written,
        write: await write,
        available,
        warnings,
        unwritten,
        seen
      })
    )
    for (;;) {
      await pause(100)
      if (
        await store.write([{ id: 'y', set: { text: 'x'.repeat(100_000) } }]).then(
          () => true,
          () => false
        )
      )
        break
    }
    say(JSON.stringify(await store.status()))
    await store.close()
    say('closed')
  }

  /** Writes more than the tables may hold, in journals that are each small enough, and tells how that went. */
  async function outgrow() {
    let written = 0
    while ((await store.status()).warnings.length === 0) {
      const texts = Array.from({ length: 100 }, () => ({ id: `dead/${written++}`, set: { text: 'x'.repeat(10_000) } }))
      await store.write(texts)
    }
    say(JSON.stringify({ written, ...(await store.status()) }))
    await store.close()
    say('closed')
  }

  function pause(ms: number) {
    return new Promise(resolve => setTimeout(resolve, ms))
  }

  function owed(n: number): Change {
    return { id: `entry/${n}`, set: { n }, place: { target: 'a', priority: 'high', dueAt: n, acceptedAt: n } }
  }
} catch (error) {
  say(String(error))
}
