import fc from 'fast-check'
import t from 'tap'
import { fingerprintOf } from '../src/fingerprint.js'
import { notificationOf } from './support/messages.js'

t.test('it is the fingerprint that a real Alertmanager gave', async t => {
  for (const fixture of ['firing-3', 'storm-120', 'watchdog-empty-annotations'] as const) {
    for (const { labels, fingerprint } of notificationOf(fixture).alerts) t.equal(fingerprintOf(labels), fingerprint)
  }
})

t.test('no labels give the bare offset, as in prometheus/common', async t => {
  t.equal(fingerprintOf({}), 'cbf29ce484222325')
})

t.test('the order in which labels were written does not matter', async t => {
  t.equal(fingerprintOf({ a: '1', b: '2' }), fingerprintOf({ b: '2', a: '1' }))
})

t.test('what belongs to a name and what to its value does', async t => {
  t.not(fingerprintOf({ ab: 'c' }), fingerprintOf({ a: 'bc' }))
  t.not(fingerprintOf({ a: 'b', c: '' }), fingerprintOf({ a: '', b: 'c' }))
})

t.test('it is FNV-1a over the labels sorted by their bytes, for any labels', async t => {
  const text = fc.string({ unit: 'binary', maxLength: 40 })
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.dictionary(text, text, { maxKeys: 8 }), labels => fingerprintOf(labels) === byTheBook(labels))
    )
  )
})

t.test('texts longer than what is kept ready are hashed whole', async t => {
  for (const value of ['x'.repeat(100_000), 'é'.repeat(16_384)]) {
    t.equal(fingerprintOf({ a: value, b: 'y' }), byTheBook({ a: value, b: 'y' }))
  }
})

t.test('names are sorted by byte, also where UTF-16 would sort them otherwise', async t => {
  const labels = { '\uff5e': 'wave', '😀': 'smile' }
  t.strictSame(Object.keys(labels).sort(), ['😀', '\uff5e'])
  t.equal(fingerprintOf(labels), byTheBook(labels))
})

function byTheBook(labels: Record<string, string>): string {
  const names = Object.keys(labels).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  const bytes = names.flatMap(name => [...Buffer.from(name), 255, ...Buffer.from(labels[name]!), 255])
  const hash = bytes.reduce(
    (hash, byte) => BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n),
    0xcbf29ce484222325n
  )
  return hash.toString(16).padStart(16, '0')
}
