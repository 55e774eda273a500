import type { DeliveryEvents } from './pipeline/deliver.js'
import type { LiveTarget } from './pipeline/live.js'
import type { RosterEvents } from './pipeline/roster.js'

/** Tells of each target whose settings changed while its circuit was open, once these have closed it: a new credential works. */
export function createRenewal(
  works: (target: string) => void
): Pick<RosterEvents, 'appeared'> & Pick<DeliveryEvents, 'circuit'> {
  const renewed = new WeakSet<LiveTarget>()
  return {
    appeared(live, before) {
      if (before && live.breaker.state !== 'closed') renewed.add(live)
    },
    circuit(live, before) {
      // One that was closed by hand meanwhile has shown nothing.
      if (before.state === 'closed') renewed.delete(live)
      else if (live.breaker.state === 'closed' && renewed.delete(live)) works(live.name)
    }
  }
}
