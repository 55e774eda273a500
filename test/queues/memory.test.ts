import t from 'tap'
import { memoryStore } from '../../src/queues/memory.js'
import { storeContract } from './contract.js'

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
  t.strictSame(await store.read(['1', '2', '3', '4']), [{ id: '1', again: true }, undefined, { id: '3' }, { id: '4' }])
})

t.test('it says that nothing outlives it', async t => {
  const { backend, durable, shared } = memoryStore()
  t.strictSame({ backend, durable, shared }, { backend: 'memory', durable: false, shared: false })
})
