import t from 'tap'
import { createSlots, type Slots } from '../../src/pipeline/slots.js'

/** Notes the order in which they get their room. */
function queueUp(slots: Slots, ...each: [name: string, urgent?: boolean][]) {
  const order: string[] = []
  const places = each.map(([name, urgent]) => {
    const place = slots.take(urgent)
    void place.taken.then(taken => order.push(taken ? name : `${name} cancelled`))
    return place
  })
  return { order, places, turn: () => new Promise(resolve => setImmediate(resolve)) }
}

t.test('no more than the limit are in at once', async t => {
  const slots = createSlots(2)
  t.strictSame([slots.tryTake(), slots.tryTake(), slots.tryTake()], [true, true, false])
  t.equal(slots.inUse(), 2)
  slots.give()
  t.equal(slots.tryTake(), true)
})

t.test('no limit is no limit', async t => {
  const slots = createSlots(0)
  for (let index = 0; index < 1_000; index++) t.equal(slots.tryTake(), true)
  t.equal(slots.inUse(), 1_000)
})

t.test('who waits gets room in the order of coming', async t => {
  const slots = createSlots(1)
  const { order, turn } = queueUp(slots, ['a'], ['b'], ['c'])
  await turn()
  t.strictSame(order, ['a'])
  slots.give()
  slots.give()
  await turn()
  t.strictSame(order, ['a', 'b', 'c'])
  t.equal(slots.inUse(), 1)
})

t.test('urgent ones go before the others, in their own order', async t => {
  const slots = createSlots(1)
  slots.tryTake()
  const { order, turn } = queueUp(slots, ['a'], ['b', true], ['c'], ['d', true])
  for (let index = 0; index < 4; index++) slots.give()
  await turn()
  t.strictSame(order, ['b', 'd', 'a', 'c'])
})

t.test('who cancels gives its place to the next and takes no room', async t => {
  const slots = createSlots(1)
  slots.tryTake()
  const { order, places, turn } = queueUp(slots, ['a'], ['b', true], ['c'])
  places[0]!.cancel()
  places[1]!.cancel()
  slots.give()
  await turn()
  t.strictSame(order.sort(), ['a cancelled', 'b cancelled', 'c'])
  t.equal(slots.inUse(), 1)
})

t.test('to cancel what was had already changes nothing', async t => {
  const slots = createSlots(1)
  const { taken, cancel } = slots.take()
  cancel()
  t.equal(await taken, true)
  t.equal(slots.inUse(), 1)
})

t.test('a larger limit lets in who waits, a smaller one throws nobody out', async t => {
  const slots = createSlots(1)
  const { order, turn } = queueUp(slots, ['a'], ['b'], ['c'], ['d'])
  slots.resize(3)
  await turn()
  t.strictSame(order, ['a', 'b', 'c'])
  slots.resize(1)
  slots.give()
  slots.give()
  t.equal(slots.inUse(), 1)
  await turn()
  t.strictSame(order, ['a', 'b', 'c'])
  slots.resize(0)
  await turn()
  t.strictSame(order, ['a', 'b', 'c', 'd'])
})
