import t from 'tap'
import { createHurry, unhurried } from '../../src/pipeline/hurry.js'

const never = new Promise(() => {})

t.test('what is done before the bound beats it', async t => {
  const hurry = createHurry()
  t.equal(await hurry.beat(Promise.resolve()), true)
  t.equal(hurry.over, false)
})

t.test('everybody who still waits stops waiting at the bound', async t => {
  const hurry = createHurry()
  const all = [hurry.beat(never), hurry.beat(never)]
  hurry.end()
  t.strictSame(await Promise.all(all), [false, false])
  t.equal(hurry.over, true)
})

t.test('after the bound nobody waits, not even for what is done', async t => {
  const hurry = createHurry()
  hurry.end()
  hurry.end()
  t.equal(await hurry.beat(never), false)
  t.equal(await hurry.beat(Promise.resolve()), false)
})

t.test('what fails before the bound fails; later nobody minds', async t => {
  const hurry = createHurry()
  await t.rejects(hurry.beat(Promise.reject(new Error('broken'))), { message: 'broken' })
  let fail = (_: Error) => {}
  const late = hurry.beat(new Promise((_, reject) => (fail = reject)))
  hurry.end()
  fail(new Error('late'))
  t.equal(await late, false)
})

t.test('who is not hurried waits as long as it takes', async t => {
  unhurried.end()
  t.equal(unhurried.over, false)
  t.equal(await unhurried.beat(new Promise(resolve => setImmediate(resolve))), true)
})
