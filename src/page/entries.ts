import type { Entry } from '../pipeline/entry.js'
import type { Store } from '../queues/contract.js'

/** Alerts after which no more entries of one place on the page are read. */
const mostAlerts = 1_000

/** Entries to show, in the order of their ids, read one by one: each can carry thousands of alerts. `gone`: how many are not there any more. */
export async function readEntries<E extends Entry>(
  store: Pick<Store, 'read'>,
  ids: readonly string[]
): Promise<{ entries: E[]; gone: number }> {
  const entries: E[] = []
  let alerts = 0
  let gone = 0
  for (const id of ids) {
    if (alerts >= mostAlerts) break
    const [record] = await store.read([id])
    if (!record) {
      gone++
      continue
    }
    const entry = record as unknown as E
    entries.push(entry)
    alerts += entry.alerts.length
  }
  return { entries, gone }
}
