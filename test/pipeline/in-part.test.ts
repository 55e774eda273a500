import t from 'tap'
import { alertId, ledgerId, outcomeField, stateField, stored } from '../../src/pipeline/entry.js'
import { packState } from '../../src/pipeline/lifecycle.js'
import { entryOf } from '../support/entries.js'
import { observed } from '../support/observed.js'
import { startStandIn } from '../support/stand-in.js'

const owed = (seq: number): string => packState({ seq, sure: true, owed: true })

for (const [what, besides, told] of [
  ['all', [], ['a']],
  ['some', entryOf('b', 1).alerts, ['b', 'a']]
] as const) {
  t.test(`an entry that leaves ${what} to a newer one of the same key does not end that one`, async t => {
    const hook = await startStandIn(t)
    const service = await observed(t, [{ name: 'hook', type: 'webhook', url: hook.url }])
    const at = Date.now()
    const ref = { key: 'k', round: 1 }
    const newer = entryOf('a', 2, { id: 'new', refs: [ref], accepted_at: at, due_at: at + 50 })
    const older = {
      ...entryOf('a', 1, { id: 'old', slot: 'other', refs: [ref], accepted_at: at, due_at: at }),
      alerts: [...entryOf('a', 1).alerts, ...besides]
    }
    await service.store.write([
      ...[older, newer].flatMap(stored),
      { id: alertId('a'), set: { [stateField(newer)]: owed(2) } },
      { id: alertId('b'), set: { [stateField(newer)]: owed(1) } },
      {
        id: ledgerId('k'),
        set: { m: { round: 1, seenAt: at, senders: [] }, [outcomeField('hook', ref)]: ['q', 'new'] }
      }
    ])
    await service.workedOff()
    t.same(
      hook.requests.map(request => request.json().alerts[0].fingerprint),
      told
    )
    const [ledger] = await service.store.read([ledgerId('k')])
    t.match(ledger?.[outcomeField('hook', ref)], /^d 200 /)
  })
}
