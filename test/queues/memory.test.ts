import t from 'tap'
import { everyRecord } from '../../src/queues/contract.js'
import { memoryStore } from '../../src/queues/memory.js'
import { recordsOf, storeContract } from './contract.js'

t.test('the memory store keeps the contract', async t => {
  storeContract(t, async () => {
    const store = memoryStore()
    return { store, end: store.close }
  })
})

t.test('it forgets what was not changed for longest when it is full', async t => {
  const store = memoryStore({ maxRecords: 3 })
  for (const id of ['1', '2', '3']) await store.write([{ id, set: { id } }])
  await store.write([{ id: '1', set: { again: true } }])
  await store.write([{ id: '4', set: { id: '4' } }])
  t.strictSame(await recordsOf(store, ['1', '2', '3', '4']), [
    { id: '1', again: true },
    undefined,
    { id: '3' },
    { id: '4' }
  ])
})

t.test('it says that nothing outlives it', async t => {
  const { backend, durable, shared } = memoryStore()
  t.strictSame({ backend, durable, shared }, { backend: 'memory', durable: false, shared: false })
})

t.test('whoever reads page after page keeps nobody waiting for all of them', async t => {
  const store = memoryStore()
  store.note(Array.from({ length: 2_000 }, (_, index) => ({ id: `dead/${index}`, set: { target: 'hook' } })))
  let read = 0
  let readMeanwhile: number | undefined
  setImmediate(() => {
    readMeanwhile = read
  })
  for await (const _ of everyRecord(store, 'dead/', [])) read++
  t.equal(read, 2_000)
  t.ok(readMeanwhile !== undefined && readMeanwhile < read)
})
