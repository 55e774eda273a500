import type { Secret } from '../secret.js'
import { type Store, StoreUnavailable } from './contract.js'
import { memoryStore } from './memory.js'
import { gatherNotes } from './notes.js'

export interface StoreOptions {
  readonly queue: 'embedded' | 'redis' | 'off'
  readonly queueDir: string
  readonly redisUrl?: Secret
}

/**
 * Opens the store that `QUEUE` names; rejects with `StoreUnavailable` and the reason if it cannot be used. A Redis that
 * cannot be reached is opened nonetheless: its status tells, and it comes by itself.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { queue, queueDir, redisUrl } = options
  switch (queue) {
    case 'off':
      return gatherNotes(memoryStore())
    case 'embedded': {
      const { embeddedStore } = await import('./embedded.js')
      return embeddedStore({ dir: queueDir })
    }
    case 'redis': {
      if (!redisUrl) throw new StoreUnavailable('QUEUE=redis needs REDIS_URL')
      const { redisStore } = await import('./redis.js')
      const { enduring } = await import('./enduring.js')
      return gatherNotes(enduring(await redisStore({ url: redisUrl, patient: true })))
    }
  }
}
