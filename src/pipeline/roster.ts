import type { Invalid, Snapshot } from '../discovery/contract.js'
import type { Target } from '../targets/target.js'
import { createLive, type LiveTarget, renew } from './live.js'

/** Every target there is at the moment, by name. */
export interface Roster {
  get(name: string): LiveTarget | undefined
  /** In order of their names. */
  all(): readonly LiveTarget[]
  /** The enabled ones, in order of their names. */
  enabled(): readonly LiveTarget[]
  invalid(): readonly Invalid[]
  /** When a target that is no longer there went, in milliseconds since the epoch. */
  goneSince(name: string): number | undefined
  /** Swaps in a new picture. Targets that did not change stay as they are, in-flight deliveries too. */
  apply(snapshot: Snapshot, now: number): void
}

export interface RosterEvents {
  /** A target is new, or its settings are. */
  appeared(live: LiveTarget, before: Target | undefined): void
  gone(live: LiveTarget): void
  applied(snapshot: Snapshot): void
}

export function createRoster(events: RosterEvents): Roster {
  const byName = new Map<string, LiveTarget>()
  // Kept a while, so that a Secret deleted and created again finds its lanes, breaker and entries where they were.
  const gone = new Map<string, { live: LiveTarget; since: number }>()
  let all: LiveTarget[] = []
  let enabled: LiveTarget[] = []
  let invalid: readonly Invalid[] = []
  let known = false

  const arrive = (target: Target, now: number): void => {
    const here = byName.get(target.name) ?? gone.get(target.name)?.live
    const live = here?.type === target.type ? here : createLive(target)
    const wasHere = live.present && byName.get(target.name) === live
    if (here?.present && here !== live) {
      here.present = false
      events.gone(here)
    }
    gone.delete(target.name)
    byName.set(target.name, live)
    live.present = true
    // Of the first picture nobody knows what was there before.
    if (!wasHere && known) live.backAt = now
    if (wasHere && live.target === target) return
    const before = live.target === target ? undefined : live.target
    renew(live, target, now)
    events.appeared(live, before)
  }

  return {
    get: name => byName.get(name),
    all: () => all,
    enabled: () => enabled,
    invalid: () => invalid,
    goneSince: name => gone.get(name)?.since,
    apply(snapshot, now) {
      const names = new Set(snapshot.targets.map(target => target.name))
      for (const [name, live] of byName) {
        if (names.has(name)) continue
        byName.delete(name)
        live.present = false
        gone.set(name, { live, since: now })
        events.gone(live)
      }
      for (const [name, { live, since }] of gone)
        if (now - since > oneHourMs && live.lanes.size() === 0) gone.delete(name)
      for (const target of snapshot.targets) arrive(target, now)
      all = [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
      enabled = all.filter(live => live.target.settings.enabled)
      invalid = snapshot.invalid
      known = true
      events.applied(snapshot)
    }
  }
}

const oneHourMs = 3_600_000
