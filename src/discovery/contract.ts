import type { Problem } from '../schema.js'
import type { Target } from '../targets/target.js'

/** Something that was meant as a target but is none. `stale`: its last valid version stays in use. */
export interface Invalid {
  /** Where it stands, without any of its content: `Secret ops/slack`, `targets.yaml targets[2]`. */
  readonly source: string
  readonly name?: string
  readonly problems: readonly Problem[]
  readonly stale: boolean
}

/** All that is known of the targets at one moment. */
export interface Snapshot {
  readonly targets: readonly Target[]
  readonly invalid: readonly Invalid[]
}

/** A place where targets are found. It keeps looking until it is stopped. */
export interface Discovery {
  /** What `/status` calls it: `file`, `kubernetes`. */
  readonly source: string
  /**
   * Begins to look. Resolves once the first look has succeeded. What may mend itself is told and tried again; what cannot,
   * rejects, which stops the process. `found` gets each new whole picture; one that could not be had changes nothing.
   */
  start(found: (snapshot: Snapshot) => void): Promise<void>
  /** Looks anew, now. Rejects with a message that is safe to show if that fails. */
  refresh(): Promise<void>
  /** The target's new settings have been delivered with, after others had failed: says so where they stand, if it can. */
  works?(target: string): void
  stop(): Promise<void>
}

/** What a discovery reports while it works, for logs, metrics and `/status`. */
export interface DiscoveryEvents {
  /**
   * One look ended: `list`, `watch`, `reload`; or a watch that had failed works again. `error` is a short word of a closed
   * set, for the metric. `message` is safe to show and belongs in the log, as a warning.
   */
  looked(
    operation: 'list' | 'watch' | 'reload',
    durationMs: number,
    error?: 'unreachable' | 'forbidden' | 'invalid' | 'gone' | 'other',
    message?: string
  ): void
}
