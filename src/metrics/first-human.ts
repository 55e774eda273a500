import { type Alert, severityOf } from '../alert.js'
import type { Accepted } from '../pipeline/accept.js'
import { alertId, deadId, type Entry, fieldsWithin, newId, stateField } from '../pipeline/entry.js'
import type { Job, PartResult } from '../pipeline/job.js'
import { isEnd } from '../pipeline/ledger.js'
import { unpackState } from '../pipeline/lifecycle.js'
import type { LiveTarget } from '../pipeline/live.js'
import type { PublishResult } from '../pipeline/result.js'
import type { Store } from '../queues/contract.js'
import { kinds } from '../targets/registry.js'

/** How long it takes until a person can know of a critical alert, and which ones nobody can know of yet. */
export interface FirstHuman {
  received(accepted: Accepted): void
  settled(job: Job, result: PartResult): void
  published(result: PublishResult, accepted: Accepted): void
  /** Looks up what other processes, or an earlier life of this one, did or left. Rejects if the store is away. */
  check(store: Store, targets: readonly LiveTarget[]): Promise<void>
  /** Critical alerts that no target that people read has; `oldestAgeMs` is 0 without any. */
  undelivered(): { count: number; oldestAgeMs: number }
}

const mostWaiting = 10_000
/** Alertmanager repeats what still fires long before that. */
const forgottenMs = 86_400_000
/** What is younger is still on its way; looking it up would tell nothing. */
const checkedAfterMs = 5_000
const checkedAtOnce = 500
const recalledBy = ['type', 'alerts', 'accepted_at'] as const

const isCritical = (alert: Alert): boolean =>
  alert.status === 'firing' && severityOf(alert)?.toLowerCase() === 'critical'

const isHuman = (type: string | undefined): boolean => type !== undefined && kinds[type]?.reachesPeople === true

export function trackFirstHuman(observe: (seconds: number) => void, now: () => number): FirstHuman {
  /** When each was accepted, by fingerprint. */
  const waiting = new Map<string, number>()
  let recovered = false

  const expect = (fingerprint: string, since: number): void => {
    if (waiting.has(fingerprint)) return
    if (waiting.size >= mostWaiting) forgetOldest()
    waiting.set(fingerprint, since)
  }

  /** Many at once: to find the first of a map is slow while there are holes before it. */
  function forgetOldest(): void {
    let left = mostWaiting / 10
    for (const fingerprint of waiting.keys()) {
      waiting.delete(fingerprint)
      if (--left === 0) return
    }
  }

  /** What was owed, or given up, when this process began: its criticals have waited since they were accepted. */
  async function recover(store: Store, targets: readonly LiveTarget[]): Promise<void> {
    const recall = (entry: Pick<Entry, 'alerts' | 'accepted_at'> | undefined): void => {
      for (const { alert } of entry?.alerts ?? []) if (isCritical(alert)) expect(alert.fingerprint, entry!.accepted_at)
    }
    // Ids begin with the time at which they were made.
    const since = deadId(newId('d', now() - forgottenMs))
    for (const { fields } of await store.list(deadId(''), since, checkedAtOnce, recalledBy)) {
      const letter = fields as unknown as Pick<Entry, (typeof recalledBy)[number]>
      if (isHuman(letter.type)) recall(letter)
    }
    const owed = new Set((await store.depths()).filter(({ counts }) => counts.high > 0).map(({ target }) => target))
    for (const live of targets.filter(({ name, type }) => owed.has(name) && isHuman(type))) {
      const ids = await store.due(live.name, 'high', Number.POSITIVE_INFINITY, checkedAtOnce)
      for (const record of await store.read(ids)) recall(record as unknown as Entry | undefined)
    }
  }

  return {
    received({ notification }) {
      const at = now()
      for (const alert of notification.alerts) {
        if (isCritical(alert)) expect(alert.fingerprint, at)
        else if (waiting.size > 0 && alert.status === 'resolved') waiting.delete(alert.fingerprint)
      }
    },

    settled({ live, entry }, result) {
      if (waiting.size === 0 || result.kind !== 'delivered' || !isHuman(live.type)) return
      for (const { alert } of entry.alerts) {
        const since = alert.status === 'firing' ? waiting.get(alert.fingerprint) : undefined
        if (since === undefined) continue
        waiting.delete(alert.fingerprint)
        if (!result.recorded) observe(Math.max(now() - since, 0) / 1000)
      }
    },

    published({ results }, { notification }) {
      const someone = results.some(
        result => isHuman(result.target_type) && result.skip_reason !== 'filtered' && result.skip_reason !== 'disabled'
      )
      // What no person was to get is not late for any.
      if (waiting.size > 0 && !someone) for (const alert of notification.alerts) waiting.delete(alert.fingerprint)
    },

    async check(store, targets) {
      if (!recovered) {
        await recover(store, targets)
        recovered = true
      }
      const at = now()
      const late: string[] = []
      for (const [fingerprint, since] of waiting) {
        if (at - since > forgottenMs) waiting.delete(fingerprint)
        else if (at - since > checkedAfterMs && late.length < checkedAtOnce) late.push(fingerprint)
      }
      if (late.length === 0) return
      const readers = targets
        .filter(({ type }) => isHuman(type))
        .map(({ name }) => ({ own: stateField({ target: name, slot: '' }), ofGroups: fieldsWithin(name) }))
      const isReaders = (field: string): boolean =>
        readers.some(({ own, ofGroups }) => field === own || field.startsWith(ofGroups))
      const records = await store.read(late.map(alertId))
      for (const [index, record] of records.entries()) {
        const has = (field: string): boolean => {
          const state = unpackState(record?.[field])
          return state?.has === 'firing' && state.sure
        }
        if (isEnd(record?.k) || Object.keys(record ?? {}).some(field => isReaders(field) && has(field)))
          waiting.delete(late[index]!)
      }
    },

    undelivered() {
      let oldest = now()
      for (const since of waiting.values()) oldest = Math.min(oldest, since)
      return { count: waiting.size, oldestAgeMs: now() - oldest }
    }
  }
}
