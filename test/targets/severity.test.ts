import t from 'tap'
import { gravest, gravityOf } from '../../src/targets/severity.js'
import { alertOf } from '../support/messages.js'

const of = (severity: string | undefined, status: 'firing' | 'resolved' = 'firing') =>
  alertOf({ status, labels: severity === undefined ? {} : { severity } })

t.test('a severity that we do not know ranks as error, in whatever case', async t => {
  for (const severity of ['page', 'P1', 'emergency', '__proto__', 'constructor', 'toString', 'ERROR']) {
    t.equal(gravityOf(of(severity)), gravityOf(of('error')), severity)
  }
  t.equal(gravityOf(of('CRITICAL')), gravityOf(of('critical')))
  const order = ['critical', 'error', undefined, 'warning', 'info', 'noise', 'none']
  const ranks = order.map(severity => gravityOf(of(severity)))
  t.strictSame(
    ranks,
    [...ranks].sort((a, b) => b - a)
  )
  t.equal(new Set(ranks).size, order.length)
})

t.test('the gravest severity is that of the gravest alert that fires', async t => {
  t.equal(gravest([of('info'), of('Emergency'), of('warning')]), 'emergency')
  t.equal(gravest([of('p2'), of('p1'), of('info')]), 'p1', 'of several unknown ones always the same')
  t.equal(gravest([of('info'), of('critical', 'resolved')]), 'info')
  t.equal(gravest([of('info', 'resolved'), of('warning', 'resolved')]), 'warning')
  t.equal(gravest([of('info'), of(undefined)]), undefined, 'one that says nothing may be grave')
})
