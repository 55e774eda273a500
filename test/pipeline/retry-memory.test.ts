import t from 'tap'
import { observed } from '../support/observed.js'
import { startStandIn } from '../support/stand-in.js'

const alert = (number: number) => ({ status: 'firing', labels: { alertname: `A${number}` } })
const webhook = (name: string, url: string) => ({ name, type: 'webhook', url })

t.test('of large entries no more are in hand than fit into memory, and a small one does not wait for them', async t => {
  let isUp = false
  let inHand = 0
  let most = 0
  let smallCame!: () => void
  const small = new Promise<void>(resolve => {
    smallCame = resolve
  })
  const large = async () => {
    if (!isUp) return { status: 503 }
    most = Math.max(most, ++inHand)
    await small
    // Who is let in beside it has come by now.
    await new Promise(resolve => setTimeout(resolve, 50))
    inHand--
    return {}
  }
  const one = await startStandIn(t, large)
  const two = await startStandIn(t, large)
  const third = await startStandIn(t, () => {
    if (!isUp) return { status: 503 }
    smallCame()
    return {}
  })
  const targets = [webhook('one', one.url), webhook('two', two.url), webhook('small', third.url)]
  const { publish, workedOff } = await observed(t, targets, { maxAlerts: 100 })
  await publish(
    Array.from({ length: 150 }, (_, number) => alert(number)),
    ['one', 'two']
  )
  await publish(alert(1_000), ['small'])
  isUp = true
  await workedOff()
  t.equal(most, 1)
  t.strictSame(
    [one, two, third].map(({ requests }) => requests.length),
    [2, 2, 2]
  )
})
