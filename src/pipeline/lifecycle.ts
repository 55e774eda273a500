import type { Alert, AlertStatus } from '../alert.js'

/** An alert with its place in the order of acceptance, which alone decides what is newer. */
export interface Sequenced {
  readonly alert: Alert
  readonly seq: number
  /** Neither health nor a filter lets it through: it goes only to a target that turns out to be owed it. */
  readonly ifOwed?: boolean
}

/** What a target has of one alert. */
export interface TargetState {
  /** The newest state that was accepted for the target. */
  readonly seq: number
  /** The last state it has or may have; absent: none that we know of. */
  readonly has?: 'firing' | 'resolved'
  /** False if it only may have it: an attempt ended in a timeout, a reset or a crash. */
  readonly sure: boolean
  /** A firing was accepted for it and waits, never delivered; or it did, and ended while the target was gone. */
  readonly owed: boolean
}

/** The union of what waits and what comes: of each alert the state that was accepted last, the newer notification's order first. */
export function merge(older: readonly Sequenced[], newer: readonly Sequenced[]): Sequenced[] {
  const merged = new Map(newer.map(item => [item.alert.fingerprint, item]))
  for (const item of older) {
    const known = merged.get(item.alert.fingerprint)
    if (!known || known.seq < item.seq) merged.set(item.alert.fingerprint, item)
  }
  return [...merged.values()]
}

/** What becomes of one alert at the moment it could be sent. */
export type Step =
  | 'send'
  /** Fired and resolved before the target heard of it: one message tells both. */
  | 'fired_and_resolved'
  /** A newer state of it was accepted meanwhile; that one will be told. */
  | 'outdated'
  /** The target never had the firing and is none to bother with its end. */
  | 'superseded'
  /** A firing that ended while the target was gone: as superseded, but its end is told if that comes after all. */
  | 'ended'
  | 'resolved_not_wanted'

/** Why a target is told nothing. */
export type Untold = Exclude<Step, 'send' | 'fired_and_resolved' | 'ended'>

export interface Reader {
  readonly audience: 'chat' | 'incident'
  readonly sendResolved: boolean
  /** An attempt of what waited was cut short by a crash: nothing is sure then. */
  readonly mayHave?: boolean
}

/** Decides what one target is told about one alert, given what it has. */
export function stepOf({ alert, seq, ifOwed }: Sequenced, state: TargetState | undefined, reader: Reader): Step {
  if (state && state.seq > seq) return 'outdated'
  if (alert.status === 'firing') return 'send'
  if (!reader.sendResolved) return 'resolved_not_wanted'
  if (ifOwed && state && !reader.mayHave && !isOwedResolve(state)) return 'superseded'
  if (reader.mayHave || !surelyHasNothing(state)) return 'send'
  return reader.audience === 'chat' ? 'fired_and_resolved' : 'superseded'
}

/** Whether a firing is the newest that waits for the target, which surely has nothing of it and would hear of its end. */
export function isUnheard({ alert, seq }: Sequenced, state: TargetState | undefined, reader: Reader): boolean {
  if (alert.status !== 'firing' || !reader.sendResolved || reader.mayHave) return false
  return state?.seq === seq && surelyHasNothing(state)
}

/** Only a firing that is known to wait proves that the target has nothing: no record at all proves nothing. */
export function surelyHasNothing(state: TargetState | undefined): boolean {
  return state?.owed === true && (state.has === undefined || (state.has === 'resolved' && state.sure))
}

/** Whether the target must hear of a resolve, whatever health or a filter says: it has, may have or is owed the firing. */
export function isOwedResolve(state: TargetState | undefined): boolean {
  return state !== undefined && (state.has === 'firing' || state.owed)
}

/** The newest state accepted for the target stays the newest, whichever attempt ends last. */
function newest(before: TargetState | undefined, seq: number): number {
  return Math.max(before?.seq ?? 0, seq)
}

/** Whether something newer waits, which the end of an older delivery does not change. */
function isOwedLater(before: TargetState | undefined, seq: number): boolean {
  return before !== undefined && before.seq > seq && before.owed
}

/** Whether the target was told since that the group fires: what comes late must not say that it is over. */
export function hasFiredSince(group: TargetState, seq: number): boolean {
  return group.has === 'firing' && group.seq > seq
}

/** What the target has of a group as a whole once it was told that. */
export function afterTelling(group: TargetState | undefined, status: AlertStatus, seq: number): TargetState {
  return { seq: newest(group, seq), has: status, sure: true, owed: false }
}

/** The state after an attempt that delivered the alert. */
export function afterDelivery(before: TargetState | undefined, { alert, seq }: Sequenced): TargetState {
  return {
    seq: newest(before, seq),
    has: alert.status,
    sure: true,
    owed: isOwedLater(before, seq)
  }
}

/** The state after an attempt that failed but may have arrived. */
export function afterDoubt(before: TargetState | undefined, { alert, seq }: Sequenced): TargetState {
  return { seq: newest(before, seq), has: alert.status, sure: false, owed: before?.owed ?? false }
}

/** The state where nobody knows what was told of the alert: somebody died over it, or whoever remembers is away. */
export function inDoubt(before?: TargetState): TargetState {
  return { seq: 0, owed: false, ...before, has: 'firing', sure: false }
}

/** The state after an attempt that surely did not arrive, although it was noted that it may: the target has what it had. */
export function afterNothing(before: TargetState | undefined, had: TargetState | undefined): TargetState | undefined {
  if (!before) return undefined
  const { seq, owed } = before
  return { seq, owed, sure: had?.sure ?? true, ...(had?.has ? { has: had.has } : {}) }
}

/**
 * The state once the alert waits in the queue. Of what waits only in case it is owed nothing can be said before that is
 * known: its firing may be under way, and a crash may let nobody ever hear what came of it.
 */
export function afterOwing(before: TargetState | undefined, item: Sequenced): TargetState | undefined {
  const { alert, seq, ifOwed } = item
  if (ifOwed && !before) return undefined
  return { sure: true, ...before, seq: newest(before, seq), owed: alert.status === 'firing' || (before?.owed ?? false) }
}

/** The state once nothing waits any more and nothing was sent: superseded, given up or refused. */
export function afterClosing(before: TargetState | undefined, { seq }: Sequenced): TargetState {
  return { sure: true, ...before, seq: newest(before, seq), owed: isOwedLater(before, seq) }
}

/** State records are stored as short text: one per alert and target. */
export function packState({ seq, has, sure, owed }: TargetState): string {
  // All targets of a publish end alike, as a rule: they share one text.
  if (seq === lastPacked.seq && has === lastPacked.has && sure === lastPacked.sure && owed === lastPacked.owed) {
    return lastPacked.text
  }
  const text = `${seq} ${has === 'firing' ? 'f' : has === 'resolved' ? 'r' : '-'}${sure ? '!' : '?'}${owed ? 'o' : '-'}`
  lastPacked = { seq, has, sure, owed, text }
  return text
}

let lastPacked: TargetState & { readonly text: string } = { seq: 0, sure: true, owed: false, text: '0 -!-' }

/** Undefined for what is no such text: nothing is known then. */
export function unpackState(packed: unknown): TargetState | undefined {
  if (typeof packed !== 'string') return undefined
  const gap = packed.indexOf(' ')
  const has = packed[gap + 1] === 'f' ? 'firing' : packed[gap + 1] === 'r' ? 'resolved' : undefined
  return {
    seq: Number(packed.slice(0, gap)),
    ...(has ? { has } : {}),
    sure: packed[gap + 2] === '!',
    owed: packed[gap + 3] === 'o'
  }
}
