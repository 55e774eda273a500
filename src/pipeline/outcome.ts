import type { Fields } from '../queues/contract.js'
import type { Failure } from '../targets/contract.js'
import { failure } from '../targets/failures.js'
import { type DeadLetter, type Entry, outcomeField } from './entry.js'
import type { Job, PartResult } from './job.js'

/** The kind of an error without its text, which could carry anything. */
export const nameOf = (error: unknown): string => (error instanceof Error ? error.name : 'unknown error')

/** What is said of a part that something threw for. */
export function internal(error: unknown): Failure {
  return failure('internal', `the delivery failed: ${nameOf(error)}`)
}

/** What the ledger already knows of this part. */
export function recordedOutcome({ entry, live }: Job, ledger: Fields | undefined): PartResult | undefined {
  if (!ledger) return undefined
  const [ref] = entry.refs
  if (!ref) return undefined
  const outcome = ledger[outcomeField(live.name, ref)]
  return outcome === undefined ? undefined : readOutcome(outcome as Outcome, live.target.version)
}

/** Whether the ledger says that the target has the part under each of the entry's keys; `ledgers` as its `refs` are. */
export function isDelivered({ refs, target }: Entry, ledgers: readonly (Fields | undefined)[]): boolean {
  return refs.length > 0 && refs.every((ref, index) => isWhole(ledgers[index]?.[outcomeField(target, ref)]))
}

const isWhole = (outcome: unknown): boolean => typeof outcome === 'string' && outcome.startsWith('d')

/**
 * A part's outcome as the ledger keeps it; the frequent one is short. `d`: delivered, with status, attempts and time. `p`:
 * as much of it as nobody newer tells.
 */
export type Outcome =
  | `${'d' | 'p'} ${number} ${number} ${number}`
  | readonly ['q', id: string]
  | readonly [
      'r',
      type: Failure['type'],
      reason: Failure['reason'],
      message: string,
      statusCode: number | null,
      attempts: number,
      id: string,
      targetVersion: string
    ]

/** The outcome of an entry that was delivered, or had nothing to tell; a status of 0 stands for none. */
export function deliveredOutcome(
  { tries: attempts, in_part }: Pick<Entry, 'tries' | 'in_part'>,
  status: number | undefined,
  durationMs: number
): Outcome {
  const statusCode = status ?? 0
  if (in_part) return `p ${statusCode} ${attempts} ${durationMs}`
  const index = attempts === 1 && durationMs < 1_000 ? statusCode * 1_000 + durationMs : -1
  // Thousands of publishes end alike, and each is remembered for a day.
  const known = frequentOutcomes.get(index)
  if (known !== undefined) return known
  const outcome: Outcome = `d ${statusCode} ${attempts} ${durationMs}`
  if (index >= 0) frequentOutcomes.set(index, outcome)
  return outcome
}

/** The outcome of a part that was given up. Settings other than those of `targetVersion` may take it after all. */
export function refusedOutcome({ failure, tries, id }: DeadLetter, targetVersion = ''): Outcome {
  const { type, reason, message, statusCode } = failure
  return ['r', type, reason, message, statusCode ?? null, tries, id, targetVersion]
}

const frequentOutcomes = new Map<number, Outcome>()

function readOutcome(outcome: Outcome, version: string): PartResult | undefined {
  if (typeof outcome === 'string') {
    const [, status, attempts, durationMs] = outcome.split(' ').map(Number)
    return {
      kind: 'delivered',
      recorded: true,
      attempts: attempts!,
      durationMs: durationMs!,
      statusCode: status || undefined
    }
  }
  switch (outcome[0]) {
    case 'q':
      return { kind: 'queued', recorded: true, id: outcome[1], attempts: 0, durationMs: 0 }
    case 'r': {
      const [, type, reason, message, statusCode, attempts, id, refusedBy] = outcome
      // A target whose settings changed since may well take it now.
      if (refusedBy !== version) return undefined
      return {
        kind: 'refused',
        recorded: true,
        failure: { type, reason, message },
        id,
        attempts,
        durationMs: 0,
        statusCode: statusCode ?? undefined
      }
    }
  }
}
