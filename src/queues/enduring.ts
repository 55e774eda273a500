import { type Change, oneField, type Store, StoreUnavailable } from './contract.js'
import { memoryStore } from './memory.js'
import { listed } from './redis-scripts.js'

/**
 * A shared store that goes on while it is away, as far as one process can: what this process notes meanwhile it can read
 * again, and numbers keep growing. So a caller's retry does not reach the same targets again. What waits for its turn,
 * and dead letters, are the store's alone.
 */
export function enduring(store: Store): Store {
  let meanwhile: Store | undefined
  let lastNumber = 0

  const isDown = (): boolean => {
    const status = store.status()
    return !(status instanceof Promise) && !status.available
  }

  const isAway = (error: unknown): void => {
    if (!(error instanceof StoreUnavailable)) throw error
    meanwhile ??= memoryStore()
  }

  const note = (changes: readonly Change[]): void => {
    if (isDown()) meanwhile ??= memoryStore()
    meanwhile?.note(changes)
    store.note(changes)
  }

  return {
    ...store,
    note,
    mark: (id, field, value, expiresAt) => note([{ id, set: oneField(field, value), expiresAt }]),
    async read(ids, only) {
      try {
        const records = await store.read(ids, only)
        meanwhile = undefined
        return records
      } catch (error) {
        if (ids.some(id => listed.some(family => id.startsWith(family)))) throw error
        isAway(error)
        return meanwhile!.read(ids)
      }
    },
    async next() {
      try {
        lastNumber = await store.next()
      } catch (error) {
        isAway(error)
        // Redis counts in microseconds of its clock.
        lastNumber = Math.max(lastNumber + 1, Date.now() * 1_000)
      }
      return lastNumber
    }
  }
}
