import t from 'tap'
import { Crowd } from '../../src/pipeline/crowd.js'

t.test('it holds just those who came and have not gone, in whatever order they do', async t => {
  const crowd = new Crowd<{ seat: number }>()
  const there = new Set<{ seat: number }>()
  let state = 7
  const next = (below: number) => (state = (state * 48_271) % 2_147_483_647) % below
  for (let step = 0; step < 2_000; step++) {
    const members = [...there]
    if (members.length === 0 || next(5) < 3) {
      const member = { seat: 0 }
      crowd.add(member)
      there.add(member)
    } else {
      const member = members[next(members.length)]!
      crowd.delete(member)
      there.delete(member)
      // Who is gone cannot go again.
      crowd.delete(member)
    }
  }
  t.ok(there.size > 100)
  t.equal(crowd.size, there.size)
  t.ok(crowd.all().every(member => there.has(member)))
})
