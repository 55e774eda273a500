import t, { type Test } from 'tap'
import { embeddedStore } from '../../src/queues/embedded.js'
import { storeContract } from './contract.js'

t.test('the embedded store keeps the contract', async t => {
  storeContract(t, t => embedded(t, {}))
})

t.test('it keeps the contract while its tables are brought up to date all the time', async t => {
  storeContract(t, t => embedded(t, { checkpointRecords: 1 }))
})

async function embedded(t: Test, options: object) {
  const dir = t.testdir()
  let store = await embeddedStore({ dir, ...options })
  return {
    store,
    reopen: async () => {
      await store.close()
      store = await embeddedStore({ dir, ...options })
      return store
    },
    end: () => store.close()
  }
}
