import fc from 'fast-check'
import t from 'tap'
import { createLanes, type Ticket } from '../../src/pipeline/lanes.js'

/** Whether a promise has settled by now. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  return Promise.race([promise.then(() => true), new Promise<false>(resolve => setImmediate(resolve, false))])
}

t.test('a free lane is had at once', async t => {
  const ticket = createLanes().take(['a', 'b'])
  t.equal(ticket.ready, true)
  t.equal(await settled(ticket.wait()), true)
})

t.test('a lane is first come, first served', async t => {
  const lanes = createLanes()
  const [first, second, third] = [lanes.take(['a']), lanes.take(['a']), lanes.take(['a'])]
  t.strictSame([first.ready, second.ready, third.ready], [true, false, false])
  const waits = [second.wait(), third.wait()]
  first.leave()
  t.strictSame([await settled(waits[0]!), await settled(waits[1]!)], [true, false])
  second.leave()
  t.equal(await settled(waits[1]!), true)
})

t.test('who needs several lanes has none of them before it has all', async t => {
  const lanes = createLanes()
  const [a, b] = [lanes.take(['a']), lanes.take(['b'])]
  const both = lanes.take(['a', 'b'])
  const wait = both.wait()
  a.leave()
  t.strictSame([both.ready, await settled(wait)], [false, false])
  b.leave()
  t.strictSame([both.ready, await settled(wait)], [true, true])
})

t.test('two who want the same lanes in another order never block each other', async t => {
  const lanes = createLanes()
  const first = lanes.take(['a', 'b'])
  const second = lanes.take(['b', 'a'])
  t.strictSame([first.ready, second.ready], [true, false])
  first.leave()
  t.equal(second.ready, true)
})

t.test('who leaves while it waits makes room for the next, and is never woken', async t => {
  const lanes = createLanes()
  const [first, second, third] = [lanes.take(['a']), lanes.take(['a', 'b']), lanes.take(['b'])]
  const wait = second.wait()
  second.leave()
  t.equal(third.ready, true)
  first.leave()
  t.equal(await settled(wait), false)
})

t.test('leaving twice does not push anybody out', async t => {
  const lanes = createLanes()
  const [first, second, third] = [lanes.take(['a']), lanes.take(['a']), lanes.take(['a'])]
  first.leave()
  first.leave()
  t.strictSame([second.ready, third.ready], [true, false])
})

t.test('trying takes all lanes or nothing at all', async t => {
  const lanes = createLanes()
  const first = lanes.tryTake(['a'])
  t.equal(first?.ready, true)
  t.equal(lanes.tryTake(['b', 'a']), undefined)
  t.equal(lanes.size(), 1)
  t.equal(lanes.tryTake(['b'])?.ready, true)
})

t.test('a lane is in use while anybody has or waits for it', async t => {
  const lanes = createLanes()
  const [first, second] = [lanes.take(['a']), lanes.take(['a', 'b'])]
  t.strictSame([lanes.has('a'), lanes.has('b'), lanes.has('c')], [true, true, false])
  first.leave()
  t.equal(lanes.has('a'), true)
  second.leave()
  t.strictSame([lanes.has('a'), lanes.has('b')], [false, false])
})

t.test('no lanes at all are had at once', async t => {
  const lanes = createLanes()
  const ticket = lanes.take([])
  t.equal(ticket.ready, true)
  ticket.leave()
  t.equal(lanes.size(), 0)
})

const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 4 })
const step = fc.oneof(
  fc.record({ do: fc.constantFrom('take' as const, 'try' as const), names }),
  fc.record({ do: fc.constant('leave' as const), which: fc.nat() })
)

t.test('whatever is taken and left, each lane is a queue, and in the end all are gone', async t => {
  await t.resolves(
    fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
        const lanes = createLanes()
        const queues = new Map<string, number[]>()
        const tickets: { ticket: Ticket; names: string[]; woken: boolean; left: boolean }[] = []
        const queueOf = (name: string) => queues.get(name) ?? []
        const enter = (ticket: Ticket, names: string[]) => {
          const entry = { ticket, names, woken: false, left: false }
          for (const name of names) queues.set(name, [...queueOf(name), tickets.length])
          tickets.push(entry)
          void ticket.wait().then(() => (entry.woken = true))
        }
        const leave = (index: number) => {
          const entry = tickets[index]!
          entry.left = true
          entry.ticket.leave()
          for (const name of entry.names)
            queues.set(
              name,
              queueOf(name).filter(each => each !== index)
            )
        }
        const check = async () => {
          await Promise.resolve()
          for (const [index, { ticket, names, woken, left }] of tickets.entries()) {
            if (left) continue
            const first = names.every(name => queueOf(name)[0] === index)
            if (ticket.ready !== first || woken !== first) throw new Error(`ticket ${index} is wrong`)
          }
          const used = [...queues.values()].filter(queue => queue.length > 0).length
          if (lanes.size() !== used) throw new Error(`${lanes.size()} lanes instead of ${used}`)
        }
        for (const each of steps) {
          if (each.do === 'take') enter(lanes.take(each.names), each.names)
          else if (each.do === 'try') {
            const free = each.names.every(name => queueOf(name).length === 0)
            const ticket = lanes.tryTake(each.names)
            if ((ticket !== undefined) !== free) throw new Error('a try is wrong')
            if (ticket) enter(ticket, each.names)
          } else if (each.do === 'leave' && tickets.length > 0) leave(each.which % tickets.length)
          await check()
        }
        for (const index of tickets.keys()) leave(index)
        await check()
        return lanes.size() === 0
      })
    )
  )
})
