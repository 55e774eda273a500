import t from 'tap'
import { openLetters } from '../../src/page/letters.js'
import { memoryStore } from '../../src/queues/memory.js'
import { alertOf } from '../support/messages.js'

const start = Date.UTC(2026, 10, 21, 3)

/** A store with dead letters, the longer ago the smaller their number. */
function storeOf(count: number, more: (index: number) => object = () => ({})) {
  const store = memoryStore()
  store.note(Array.from({ length: count }, (_, index) => letterOf(index, more(index))))
  let lists = 0
  return {
    note: store.note,
    read: store.read,
    list: (...args: Parameters<typeof store.list>) => {
      lists++
      return store.list(...args)
    },
    lists: () => lists
  }
}

function letterOf(index: number, more: object) {
  const id = `d${String(index).padStart(6, '0')}`
  const failure = { type: 'permanent', reason: 'client_error', message: `Webhook answered 400 to ${index}` }
  const alerts = [{ alert: alertOf({ fingerprint: `f${index}` }), seq: index }]
  return { id: `dead/${id}`, set: { id, target: 'hook', alerts, failure, buried_at: start + index, ...more } }
}

t.test('of many dead letters all are counted, and the newest are shown', async t => {
  const store = storeOf(1_201)
  const { groups, countedAt } = await openLetters(store, () => start)()
  t.equal(countedAt, start)
  t.match(groups, [
    {
      target: 'hook',
      count: 1_201,
      alerts: undefined,
      newestAt: start + 1_200,
      message: 'Webhook answered 400 to 1200'
    }
  ])
  t.same(
    groups[0]!.letters.map(({ id }) => id),
    Array.from({ length: 10 }, (_, index) => `d${String(1_200 - index).padStart(6, '0')}`)
  )
})

t.test('what was accepted first and given up last is the newest', async t => {
  const store = storeOf(30, index => (index === 0 ? { buried_at: start + 100 } : {}))
  const [group] = (await openLetters(store, () => start)()).groups
  t.match(group, { newestAt: start + 100, letters: [{ id: 'd000000' }, { id: 'd000029' }] })
})

t.test(
  'they stand by target and cause, the group with the newest first, with their alerts if all are shown',
  async t => {
    const store = storeOf(3, index => (index === 1 ? {} : { target: 'other' }))
    t.match((await openLetters(store, () => start)()).groups, [
      { target: 'other', count: 2, alerts: 2, newestAt: start + 2 },
      { target: 'hook', count: 1, alerts: 1, newestAt: start + 1 }
    ])
  }
)

t.test('a few are counted for every page, and none twice at once', async t => {
  const store = storeOf(2)
  const letters = openLetters(store, () => start)
  await Promise.all([letters(), letters()])
  t.equal(store.lists(), 2)
  store.note([{ id: 'dead/d000001', drop: true }])
  t.match((await letters()).groups, [{ count: 1 }])
})

t.test('so many that counting them takes long are counted seldom, and what is gone since is not shown', async t => {
  const store = storeOf(600)
  let at = start
  const slow = {
    ...store,
    list: (...args: Parameters<typeof store.list>) => {
      at += 1_000
      return store.list(...args)
    }
  }
  const letters = openLetters(slow, () => at)
  const first = await letters()
  const lists = store.lists()
  store.note([{ id: 'dead/d000599', drop: true }])
  at += 50_000
  const second = await letters()
  t.equal(store.lists(), lists)
  t.equal(second.countedAt, first.countedAt)
  t.match(second.groups, [{ count: 599, newestAt: start + 598, letters: { length: 9 } }])
  at += 50_000
  t.equal((await letters()).countedAt, first.countedAt, 'nobody waits for the next count')
  t.ok(store.lists() > lists)
})

t.test('a count that fails is told, and tried again', async t => {
  const store = storeOf(1)
  let fails = true
  const away = {
    ...store,
    list: async (...args: Parameters<typeof store.list>) => {
      if (fails) throw new Error('away')
      return store.list(...args)
    }
  }
  const letters = openLetters(away, () => start)
  await t.rejects(letters(), { message: 'away' })
  fails = false
  t.match((await letters()).groups, [{ count: 1 }])
})
