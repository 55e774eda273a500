import { setTimeout as sleep } from 'node:timers/promises'
import type { DiscoveryEvents, Snapshot } from '../../src/discovery/contract.js'

/** What a discovery found and reported, and a way to wait for what it must find. */
export function watchLooks() {
  const snapshots: Snapshot[] = []
  const reports: { operation: string; error?: string; message?: string }[] = []
  const events: DiscoveryEvents = {
    looked: (operation, _durationMs, error, message) => void reports.push({ operation, error, message })
  }
  return {
    snapshots,
    reports,
    events,
    found: (snapshot: Snapshot) => void snapshots.push(snapshot),
    latest: () => snapshots.at(-1) ?? { targets: [], invalid: [] },
    names: () => (snapshots.at(-1)?.targets ?? []).map(target => target.name)
  }
}

/** Waits until something holds; fails after 10 s. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 10_000; !(await holds()); await sleep(10)) {
    if (Date.now() > end) throw new Error(`waited 10 s in vain until ${what}`)
  }
}
