import t from 'tap'
import { Layer } from '../../src/queues/layer.js'
import { Texts } from '../../src/queues/texts.js'

const place = { target: 'hook', priority: 'high', dueAt: 1, acceptedAt: 2 } as const
const kept = { fields: { n: 1 }, expiresAt: 5 }

t.test('texts outside the heap are read back as they were, short, long and in any script', async t => {
  const texts = new Texts()
  const all = ['', 'firing', '🔥 é漢字', 'é'.repeat(300_000), 'x'.repeat(1_048_576), 'é漢'.repeat(600_000), 'last']
  const many = Array.from({ length: 5_000 }, (_, index) => `5;{"n":"${'é'.repeat(index % 700)}"}`)
  const numbers = [...all, ...many].map(text => texts.add(text))
  t.strictSame(
    numbers.map(number => texts.at(number)),
    [...all, ...many]
  )
  t.strictSame(
    numbers.map(number => texts.bytes(number).toString()),
    [...all, ...many]
  )
})

t.test('memory that was given back is used again, and nothing of what it held is seen', async t => {
  const first = new Texts()
  const before = Array.from({ length: 4_000 }, (_, index) => first.add(`${index} ${'a'.repeat(500)}`))
  const slabs = new Set(before.map(number => first.bytes(number).buffer))
  first.clear()
  const next = new Texts()
  const numbers = Array.from({ length: 4_000 }, (_, index) => next.add(`new ${index}`))
  t.ok(numbers.every(number => slabs.has(next.bytes(number).buffer)))
  t.strictSame(
    numbers.map(number => next.at(number)),
    numbers.map((_, index) => `new ${index}`)
  )
})

t.test('a row lies over an older one, whose place counts as long as the newer one says nothing of it', async t => {
  const layer = new Layer()
  layer.set('a', { kept, place })
  t.strictSame([layer.get('a'), layer.place('a'), layer.bytes('a')], [{ kept, place }, place, { kept, place }])
  layer.set('a', '7;{"n":2}')
  t.strictSame(layer.get('a'), { kept: { fields: { n: 2 }, expiresAt: 7 }, place }, 'the place stays')
  layer.set('a', { kept, place: null })
  t.equal(layer.place('a'), null)
  layer.set('b', '7;{}')
  layer.set('b', '8;{"é":1}')
  t.strictSame([layer.get('b'), layer.place('b')], ['8;{"é":1}', undefined])
  t.equal(String(layer.bytes('b')), '8;{"é":1}')
  t.strictSame([[...layer.keys()].sort(), layer.size], [['a', 'b'], 2])
  t.strictSame(
    [layer.get('c'), layer.place('c'), layer.has('c'), layer.has('a'), layer.has('b')],
    [undefined, undefined, false, true, true]
  )
  layer.set('b', { kept, place })
  t.strictSame([layer.get('b'), layer.size], [{ kept, place }, 2], 'no longer a text')
  layer.set('d', { kept })
  layer.set('d', '9;{}')
  t.strictSame([layer.get('d'), layer.size], ['9;{}', 3], 'a text from here on')
  layer.clear()
  t.strictSame([layer.size, layer.get('b')], [0, undefined])
})
