import type { Failure } from '../targets/contract.js'
import { failure } from '../targets/failures.js'
import { type Breaker, begun, closed, type Probe, permits } from './breaker.js'
import type { Job } from './job.js'
import { type LiveTarget, rateWaitMs, returnToken, slotsOf, takeToken } from './live.js'
import { turn } from './turn.js'

/** Leave for one attempt: a slot of the target is taken, and a token if it has a rate limit. */
export interface Pass {
  /** Set where the attempt is the one that tries a half-open circuit. */
  readonly probe: Probe | undefined
}

/** What matters of a job before it comes to an attempt. */
export type Asking = Pick<Job, 'live' | 'respectBreaker' | 'patienceMs'>

/** What lets an attempt through to its target: breaker, pause, the publish's room, rate limit and slots. */
export interface Gate {
  /** Leave for a job that nothing keeps waiting at `at`, which is now; undefined if it may have to. */
  atOnce(job: Job, at: number): Pass | undefined
  /** Waits for room, a token and a slot; else what is in the way, or `later`. */
  wait(job: Job): Promise<Pass | Failure | 'later'>
  /** Why no attempt may be made now; undefined if one may. */
  forbidden(job: Asking): Failure | undefined
  /** The same, or that a token would be too long in coming. */
  refusal(job: Asking): Failure | undefined
  setBreaker(live: LiveTarget, next: Breaker): void
}

export interface GateDeps {
  circuit(live: LiveTarget, before: Breaker): void
  now(): number
}

/** Time that a live attempt must have left to be begun, in milliseconds. */
const leastMs = 5

/** Whether its peer has left: it would go to another one now, without the lanes that it needs there. */
const hasStrayed = ({ live, entry }: Job): boolean =>
  entry.peer !== undefined && !live.target.wire.peers?.includes(entry.peer)

/** Leave for an attempt that tries no circuit. */
export const noProbe: Pass = { probe: undefined }

export function createGate({ circuit, now }: GateDeps): Gate {
  const setBreaker = (live: LiveTarget, next: Breaker): void => change(live, next, circuit)

  function forbidden({ live, respectBreaker }: Asking, at = now()): Failure | undefined {
    if (live.pausedUntil > at) {
      return failure('rate_limited', `${live.target.kind.title} asked to be left alone`, {
        retryAfterMs: live.pausedUntil - at
      })
    }
    if (respectBreaker && !permits(live.breaker, at)) return failure('connection', 'the circuit is open')
    return undefined
  }

  function tooBusy({ live, patienceMs }: Asking, waitMs: number): Failure | undefined {
    if (waitMs <= patienceMs) return undefined
    return failure('rate_limited', `${live.target.kind.title} is at its rate limit`, { retryAfterMs: waitMs })
  }

  /** At once, before anybody else looks: of all that wait for a half-open circuit, one is the probe. */
  function pass(live: LiveTarget, at = now()): Pass {
    const probe = begun(live.breaker, at)
    if (!probe) return noProbe
    setBreaker(live, probe)
    return { probe }
  }

  return {
    setBreaker,
    forbidden,
    refusal: job => forbidden(job) ?? tooBusy(job, rateWaitMs(job.live, now())),

    atOnce(job, at) {
      const { live } = job
      if (job.room || hasStrayed(job) || forbidden(job, at) || rateWaitMs(live, at) > 0) return undefined
      if (!slotsOf(live, job.entry.peer).tryTake()) return undefined
      takeToken(live, at)
      return pass(live, at)
    },

    async wait(job) {
      const { live } = job
      if (hasStrayed(job)) return 'later'
      const before = forbidden(job)
      if (before) return before
      if (job.room && !(await job.room())) return 'later'
      // Room that comes this late is no use: an attempt would time out, and the target would be blamed for it.
      if (!job.stored && job.until - now() < leastMs) return 'later'
      const waitMs = rateWaitMs(live, now())
      const busy = tooBusy(job, waitMs)
      if (busy) return busy
      takeToken(live, now())
      if (waitMs > 0 && !(await job.hurry.beat(new Promise(resolve => setTimeout(resolve, waitMs))))) {
        returnToken(live, now())
        return 'later'
      }
      const slots = slotsOf(live, job.entry.peer)
      if (!slots.tryTake()) {
        const place = slots.take()
        const won = await job.hurry.beat(place.taken)
        if (!won) {
          place.cancel()
          if (await place.taken) slots.give()
          returnToken(live, now())
          return 'later'
        }
      }
      // The wait may have been long enough for the circuit to open or a Retry-After to arrive.
      const changed = job.hurry.over || hasStrayed(job) ? 'later' : forbidden(job)
      if (!changed) return pass(live)
      // Hundreds may have waited, and each lets the next one know.
      if (changed !== 'later') await turn()
      slots.give()
      returnToken(live, now())
      return changed
    }
  }
}

/** Closes a target's circuit and ends its pause, by hand. `circuit` is told if it was not closed. */
export function resetCircuit(live: LiveTarget, circuit: GateDeps['circuit']): void {
  live.pausedUntil = 0
  change(live, closed, circuit)
}

function change(live: LiveTarget, next: Breaker, circuit: GateDeps['circuit']): void {
  const before = live.breaker
  live.breaker = next
  if (before.state !== next.state) circuit(live, before)
}
