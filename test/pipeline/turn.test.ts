import t from 'tap'
import { isMany, turn } from '../../src/pipeline/turn.js'

t.test('of several that ask for a turn at once, each goes on in a round of the event loop of its own', async t => {
  let round = 0
  let counting = true
  const count = (): void => {
    round++
    if (counting) setImmediate(count)
  }
  setImmediate(count)
  const rounds: number[] = []
  await Promise.all(['a', 'b', 'c', 'd'].map(() => turn().then(() => rounds.push(round))))
  counting = false
  t.equal(new Set(rounds).size, 4, `went on in rounds ${rounds}`)
})

t.test('a hundred alerts are not many yet', async t => {
  t.notOk(isMany(Array(100)))
  t.ok(isMany(Array(101)))
})
