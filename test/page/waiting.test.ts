import t from 'tap'
import { severityOfEntry } from '../../src/page/waiting.js'
import { alertOf } from '../support/messages.js'

t.test('an entry is shown with the severity of its gravest alert, as that alert writes it', async t => {
  const shown = (...severities: string[]) =>
    severityOfEntry({ alerts: severities.map(severity => ({ alert: alertOf({ labels: { severity } }), seq: 1 })) })
  t.equal(shown('info', 'P1', 'warning'), 'P1')
  t.equal(shown('P1', 'Critical'), 'Critical')
  t.equal(shown('info'), 'info')
  t.equal(severityOfEntry({ alerts: [{ alert: alertOf({ labels: {} }), seq: 1 }] }), undefined)
})
