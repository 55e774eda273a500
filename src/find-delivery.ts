import { type DeliveryLog, deliveryView } from './delivery-log.js'
import type { Crowd } from './pipeline/crowd.js'
import { type DeadLetter, deadId, type Entry, entryId } from './pipeline/entry.js'
import type { Job } from './pipeline/job.js'
import type { Store } from './queues/contract.js'
import type { DeliveryView } from './routes/deliveries.js'

interface Places {
  readonly deliveryLog: Pick<DeliveryLog, 'get'>
  /** What is under way. */
  readonly inHand: Pick<Crowd<Job>, 'all'>
  readonly store: Pick<Store, 'read'>
}

/** Looks a delivery up by its id wherever it can be, so that at no moment one is unknown that is still to be settled. */
export function findDelivery({
  deliveryLog,
  inHand,
  store
}: Places): (id: string) => Promise<DeliveryView | undefined> {
  /** Out of the queue, with an outcome that is not durable yet: the store has let go of it, the log waits for that. */
  function underWay(id: string): DeliveryView | undefined {
    for (const { entry, stored, folded } of inHand.all()) {
      const found = [...(stored ? [entry] : []), ...folded].find(each => each.id === id)
      if (found) return deliveryView(found)
    }
    return undefined
  }

  /** The log has forgotten it, or another process made it, but the store still has it. */
  async function waiting(id: string): Promise<DeliveryView | undefined> {
    const [entry, letter] = await store.read([entryId(id), deadId(id)])
    const found = entry ?? letter
    return found && deliveryView(found as unknown as Entry | DeadLetter)
  }

  // It may have been settled while the store was asked.
  return async id => deliveryLog.get(id) ?? underWay(id) ?? (await waiting(id)) ?? deliveryLog.get(id)
}
