import { type Store, StoreUnavailable } from '../queues/contract.js'
import { stateMsFor } from './books.js'
import type { LiveTarget } from './live.js'
import type { Roster, RosterEvents } from './roster.js'

export interface AbsenceDeps {
  readonly store: Store
  readonly roster: Pick<Roster, 'all'>
  readonly retentionMs: number
  now(): number
}

/** Remembers over a restart which targets are gone: what ends meanwhile is nothing to tell whoever is back with the start. */
export interface Absence extends Pick<RosterEvents, 'appeared' | 'gone'> {
  /** Tells those that are here again since when. Once, when the targets are known and nothing has been accepted yet. */
  recall(): Promise<void>
}

const goneId = ({ name, type }: LiveTarget): string => `gone/${name}/${type}`

export function createAbsence({ store, roster, retentionMs, now }: AbsenceDeps): Absence {
  /** After so long nobody knows of an alert that it ended, in milliseconds. */
  const keptMs = stateMsFor(retentionMs).firing
  let isKnown = false

  const forget = (live: LiveTarget): void => store.note([{ id: goneId(live), drop: true }])

  async function returned(): Promise<readonly LiveTarget[]> {
    const here = roster.all()
    try {
      const records = await store.read(here.map(goneId))
      return here.filter((_, index) => records[index] !== undefined)
    } catch (error) {
      if (error instanceof StoreUnavailable) return []
      throw error
    }
  }

  return {
    gone(live) {
      const at = now()
      store.note([{ id: goneId(live), set: { at }, expiresAt: at + keptMs }])
    },

    appeared(live) {
      // Before, it may be one of those of which `recall` is about to tell.
      if (isKnown) forget(live)
    },

    async recall() {
      for (const live of await returned()) {
        live.backAt = now()
        forget(live)
      }
      isKnown = true
    }
  }
}
