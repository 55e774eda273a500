import type { Entry } from '../../src/pipeline/entry.js'

/** An entry for the target `hook` with one firing alert of its own, `index` being its place in the order. */
export const entryOf = (id: string, index: number, more: Partial<Entry> = {}): Entry => ({
  id,
  target: 'hook',
  type: 'webhook',
  part: '',
  slot: id,
  alerts: [
    {
      alert: {
        alert_name: id,
        fingerprint: id,
        status: 'firing',
        labels: { alertname: id },
        annotations: {},
        starts_at: '2026-11-20T18:00:00Z'
      },
      seq: index,
      ifOwed: false
    }
  ],
  group: {
    receiver: 'r',
    group_key: id,
    group_labels: {},
    common_labels: {},
    common_annotations: {},
    external_url: '',
    truncated_alerts: 0
  },
  publish_id: 'p',
  base: 'b',
  refs: [],
  accepted_at: index,
  due_at: index,
  tries: 0,
  attempts: [],
  may_have: false,
  ...more
})
