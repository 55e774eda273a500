import t from 'tap'
import { patternOf } from '../../src/targets/pattern.js'

t.test('there is one of each pattern', async t => {
  const pattern = patternOf('node-[0-9]+')
  t.equal(patternOf('node-[0-9]+'), pattern)
  t.not(patternOf('node-[0-9]*'), pattern)
  t.ok(pattern.test('on node-12') && pattern.testExact('node-12') && !pattern.testExact('on node-12'))
})

t.test('what is no pattern throws, again and again', async t => {
  for (let round = 0; round < 2; round++) t.throws(() => patternOf('a('), /missing closing/)
})
