import t from 'tap'
import { Batch } from '../src/batch.js'

/** A batch that handles numbers, and its turns, which are run by hand. */
function batchOf(most?: number) {
  const turns: (() => void)[] = []
  const handled: number[] = []
  const batch = new Batch<number>(
    item => {
      handled.push(item)
      if (item < 0) throw new Error(`${item}`)
    },
    most,
    run => turns.push(run)
  )
  return { batch, turns, handled, run: () => turns.shift()!() }
}

t.test('what comes before its turn is handled in one, in order', async t => {
  const { batch, turns, handled, run } = batchOf()
  for (const item of [1, 2, 3]) batch.add(item)
  t.equal(turns.length, 1)
  t.same(handled, [])
  run()
  t.same([handled, turns.length], [[1, 2, 3], 0])
  batch.add(4)
  run()
  t.same([handled, turns.length], [[1, 2, 3, 4], 0])
})

t.test('no more than were asked for are handled in one turn', async t => {
  const { batch, turns, handled, run } = batchOf(2)
  for (const item of [1, 2, 3, 4, 5]) batch.add(item)
  run()
  t.same([handled, turns.length], [[1, 2], 1])
  batch.add(6)
  t.equal(turns.length, 1)
  run()
  run()
  t.same([handled, turns.length], [[1, 2, 3, 4, 5, 6], 0])
})

t.test('what comes while others are handled has a turn of its own', async t => {
  const handled: number[] = []
  const batch: Batch<number> = new Batch(item => {
    handled.push(item)
    if (item < 3) batch.add(item + 10)
  })
  batch.add(1)
  batch.add(2)
  await new Promise(setImmediate)
  t.same(handled, [1, 2])
  await new Promise(setImmediate)
  t.same(handled, [1, 2, 11, 12])
})

t.test('one that throws does not keep the others from being handled', async t => {
  const { batch, handled, run } = batchOf()
  for (const item of [1, -2, 3]) batch.add(item)
  t.throws(run, { message: '-2' })
  t.same(handled, [1, -2])
  batch.add(4)
  run()
  t.same(handled, [1, -2, 3, 4])
})
