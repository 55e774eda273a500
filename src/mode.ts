import Type, { type Static } from 'typebox'

export const Mode = Type.Object({
  mode: Type.Enum(['normal', 'metrics-only'], {
    description: 'metrics-only: no target is enabled, so alerts are counted but go nowhere.'
  }),
  enabled_targets: Type.Integer(),
  since: Type.String({ description: 'RFC 3339: when this mode began.' }),
  duration_seconds: Type.Number({ description: 'Seconds in this mode.' }),
  transitions: Type.Integer({ description: 'Changes of the mode since the start.' }),
  reason: Type.String()
})
export type Mode = Static<typeof Mode>

/** Whether there is anybody to publish to. */
export interface ModeWatch {
  /** Tells how many targets are enabled now. */
  apply(enabledCount: number): void
  view(): Mode
}

/** Starts as metrics-only, since no target is known yet. The first targets are no change of the mode but its beginning. */
export function createMode({ now }: { now(): number }): ModeWatch {
  let enabled = 0
  let known = false
  let since = now()
  let transitions = 0

  const modeOf = (count: number): Mode['mode'] => (count > 0 ? 'normal' : 'metrics-only')
  const reason = (): string => {
    if (!known) return 'the targets are not known yet'
    if (enabled === 0) return 'no target is enabled'
    return enabled === 1 ? '1 target is enabled' : `${enabled} targets are enabled`
  }

  return {
    apply(enabledCount) {
      if (modeOf(enabledCount) !== modeOf(enabled)) {
        since = now()
        if (known) transitions++
      }
      enabled = enabledCount
      known = true
    },
    view: () => ({
      mode: modeOf(enabled),
      enabled_targets: enabled,
      since: new Date(since).toISOString(),
      duration_seconds: Math.max(now() - since, 0) / 1000,
      transitions,
      reason: reason()
    })
  }
}
