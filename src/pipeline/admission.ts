import type { Alert, Notification } from '../alert.js'
import { mapped } from '../mapped.js'
import { type Change, type Fields, noFields, type Store, StoreUnavailable } from '../queues/contract.js'
import { ledgerMs, stateMsFor } from './books.js'
import { alertId, chosenId, ledgerId } from './entry.js'
import {
  answeredField,
  beside,
  besideOf,
  chosenKeyOf,
  forgotten,
  keysBeside,
  meaningOf,
  publishKeyOf,
  type Round,
  roundAfter,
  roundField,
  roundOf,
  roundOfOutcomes,
  type Sighting,
  stateOf
} from './ledger.js'
import type { PublishRequest } from './publish.js'
import type { Verdict } from './result.js'
import { turn } from './turn.js'

/** A notification's place in the order of acceptance, and what its key means. */
export interface Admission {
  readonly seq: number
  /** Absent: every POST of it is a new one. */
  readonly key: string | undefined
  readonly round: number
  /** What the key is remembered by from now on. */
  readonly known: Round | undefined
  /** How long its key is remembered where that is told of, in milliseconds. */
  readonly keptMs: number
  /** What is recorded of the alerts, in their order. */
  readonly records: readonly (Fields | undefined)[]
  /** The ledger has nothing of this round yet. */
  readonly isNew: boolean
  /** An attempt that nobody remembers may have arrived: the caller tries again what a process died over. */
  readonly doubtful: boolean
}

export interface Admissions {
  /** Gives the notification its place, and writes down that it came. Without the store it goes on without the ledger. */
  admit(request: PublishRequest, at: number): Admission | Promise<Admission>
  /** Whether no other notification was accepted after this one. */
  isLatest(admission: Admission): boolean
  /** Remembers that the caller has been told, if it was told that all is well. */
  answered(admission: Admission, verdict: Verdict): void
}

export interface AdmissionDeps {
  readonly store: Store
  readonly dedupWindowMs: number
  readonly retentionMs: number
  warn(message: string, fields: Record<string, unknown>): void
  now(): number
}

/** Records that are read before others get the event loop. */
const readAtOnce = 2_000
/** Keys that are remembered beside one alert. Each has its fields read and written with the others. */
const mostBeside = 16
/** By then Alertmanager has tried again what it was not told before a crash, or has given it up. */
const doubtMs = 600_000

export function createAdmissions({ store, dedupWindowMs, retentionMs, warn, now }: AdmissionDeps): Admissions {
  const stateMs = stateMsFor(retentionMs)
  const { interruptedAt } = store
  const doubtUntil = interruptedAt + doubtMs
  /** The place of the notification that was accepted last. */
  let latest = 0
  /** Keys of a shared store that are being looked up. */
  const looking = new Map<string, Promise<unknown>>()

  /** Reads all that matters at once; nothing comes between that and what is written of it. */
  async function slowly(request: PublishRequest, key: string | undefined, at: number): Promise<Admission> {
    const seq = await store.next()
    latest = seq
    const records = await readInTurns(store, idsOf(request, key))
    const { available } = await store.status()
    const recorded = recordedIn(records, request.accepted.notification.alerts.length, key)
    return decide(request, recorded, { at, seq, isAway: !available })
  }

  /**
   * Lets one at a time look a key up and write it, in this process and in any other: twins that came at once would
   * both find nothing, and both send. Who waits for longer than a second goes on without.
   */
  async function alone<T>(key: string, look: () => Promise<T>): Promise<T> {
    const before = looking.get(key)
    const mine = (async () => {
      await before
      let hold = await store.hold([`//${key}`])
      for (const end = now() + 1_000; !hold && now() < end; hold = await store.hold([`//${key}`]))
        await new Promise(resolve => setTimeout(resolve, 10))
      try {
        return await look()
      } finally {
        if (hold) store.release(hold)
      }
    })()
    const ended = mine.catch(() => {})
    looking.set(key, ended)
    try {
      return await mine
    } finally {
      if (looking.get(key) === ended) looking.delete(key)
    }
  }

  /** Whether all that matters is read, decided and written before anybody else gets a turn. */
  const isAtOnce = ({ accepted }: PublishRequest): boolean =>
    !store.shared && accepted.notification.alerts.length <= readAtOnce

  /** All that is recorded. Of a key nothing is while nothing is of its alerts, which are kept for longer. */
  function lookUp(request: PublishRequest): Recorded {
    const key = keyOf(request)
    const { source, notification } = request.accepted
    const { alerts } = notification
    const read = store.read as (ids: readonly string[]) => (Fields | undefined)[]
    if (source !== 'alertmanager' || key === undefined) return recordedIn(read(idsOf(request, key)), alerts.length, key)
    const records = read(alertIds(alerts))
    if (alerts.length === 1) return ofOne(key, alerts[0]!, records)
    const ofKey = records.includes(undefined) ? undefined : read([ledgerId(key)])[0]
    return { key, records, ofKey }
  }

  /** The key of an only alert is remembered beside that, unless it was elsewhere before or there are very many already. */
  function ofOne(key: string, alert: Alert, records: readonly (Fields | undefined)[]): Recorded {
    const [record] = records
    const besides = beside(key, alert.fingerprint)
    // Whatever is known of the key is void where the alert had another state since.
    if (!record || record.k !== stateOf(alert) || roundField(besides) in record)
      return { key: besides, records, ofKey: record }
    const [ofKey] = store.read([ledgerId(key)]) as (Fields | undefined)[]
    if (ofKey || keysBeside(record) >= mostBeside) return { key, records, ofKey }
    return { key: besides, records, ofKey: record }
  }

  interface Found {
    readonly at: number
    readonly seq: number
    /** It is only what was noted since the store is away. */
    readonly isAway: boolean
  }

  function decide(request: PublishRequest, recorded: Recorded, { at, seq, isAway }: Found): Admission {
    const { accepted } = request
    const { alerts, external_url } = accepted.notification
    const { key, records, ofKey } = recorded
    const changes: Change[] = mapped(alerts, (alert, index) => ({
      id: alertId(alert.fingerprint),
      set: seenAs(alert, records[index], seq),
      expiresAt: at + stateMs.firing
    }))
    if (key === undefined) {
      store.note(changes)
      return { seq, key, round: seq, known: undefined, keptMs: 0, records, isNew: true, doubtful: at < doubtUntil }
    }
    const before = roundOf(ofKey, key) ?? (isAway ? roundOfOutcomes(ofKey, at) : undefined)
    const sighting: Sighting = {
      now: at,
      sender: `${request.sender} ${external_url}`,
      reminder: accepted.reminder,
      outdated: before !== undefined && alerts.some((alert, index) => isOutdated(alert, records[index], before.round)),
      dedupWindowMs,
      chosenKey: accepted.source !== 'alertmanager',
      interruptedAt
    }
    const meaning = meaningOf(before, sighting)
    const known = roundAfter(before, meaning, sighting, seq)
    const { kind } = meaning
    const { round } = known
    const expiresAt = at + ledgerMs
    // Where nothing comes between, what is new need not be looked for once more.
    const anew = ofKey === undefined && isAtOnce(request)
    if (besideOf(key) === undefined)
      // A new round knows nothing of how the one before ended.
      changes.push({
        id: ledgerId(key),
        set: { m: known },
        replace: before !== undefined && round !== before.round,
        anew,
        expiresAt
      })
    else {
      const [{ id, set, expiresAt }] = changes as [Change]
      const isSame = ofKey?.k === set!.k
      const over = ofKey && forgotten(ofKey, key, round, { isSame, since: at - ledgerMs })
      changes[0] = { id, set: withRound(set!, key, known, over), anew, expiresAt }
    }
    const chosen = chosenOf(request)
    if (chosen !== undefined) {
      const earlier = recorded.ofChosen?.key
      if (earlier !== undefined && earlier !== key)
        warn('an Idempotency-Key came again with another body: it is published as a new one', {
          alert_fingerprint: alerts[0]!.fingerprint
        })
      changes.push({ id: chosen, set: { key }, expiresAt })
    }
    store.note(changes)
    return {
      seq,
      key,
      round,
      known,
      keptMs: besideOf(key) === undefined ? ledgerMs : stateMs[alerts[0]!.status],
      records,
      isNew: kind !== 'resume' && kind !== 'twin',
      doubtful: kind === 'resume' || at < doubtUntil
    }
  }

  /** Without the store there is no dedup and no order across replicas, but who can be reached is reached. */
  function without(error: unknown, at: number): Admission {
    if (!(error instanceof StoreUnavailable)) throw error
    warn('the ledger cannot be read: publishing without it', { error: error.message })
    return {
      seq: at * 1000,
      key: undefined,
      round: at,
      known: undefined,
      keptMs: 0,
      records: [],
      isNew: false,
      doubtful: false
    }
  }

  return {
    admit(request, at) {
      if (!isAtOnce(request)) {
        const key = keyOf(request)
        const admitted =
          store.shared && key !== undefined ? alone(key, () => slowly(request, key, at)) : slowly(request, key, at)
        return admitted.catch(error => without(error, at))
      }
      try {
        latest = store.next() as number
        return decide(request, lookUp(request), { at, seq: latest, isAway: false })
      } catch (error) {
        return without(error, at)
      }
    },

    isLatest: ({ seq }) => latest === seq,

    answered({ key, known, keptMs }, verdict) {
      if (key === undefined || !known || verdict.status >= 300 || known.answeredAt !== undefined) return
      // Without the store nothing is remembered: the caller's next try is taken for a retry, which reaches nobody twice.
      const at = now()
      store.mark(ledgerId(key), answeredField(known.round), at, at + keptMs)
    }
  }
}

/** Reads many records without keeping the event loop to itself. The last ones are those that decide: nothing comes between. */
async function readInTurns(store: Store, ids: readonly string[]): Promise<(Fields | undefined)[]> {
  const records: (Fields | undefined)[] = []
  for (let from = 0; from < ids.length; from += readAtOnce) {
    if (from > 0) await turn()
    for (const record of await store.read(ids.slice(from, from + readAtOnce))) records.push(record)
  }
  return records
}

/** What is recorded of a notification's alerts, in their order, read in turns. */
export const readAlerts = (store: Store, { alerts }: Notification): Promise<(Fields | undefined)[]> =>
  readInTurns(store, alertIds(alerts))

const alertIds = (alerts: readonly Alert[]): string[] => mapped(alerts, ({ fingerprint }) => alertId(fingerprint))

/** What is recorded that matters to a notification. */
interface Recorded {
  readonly key: string | undefined
  /** Of its alerts, in their order. */
  readonly records: readonly (Fields | undefined)[]
  /** The record in which its key is told of. */
  readonly ofKey: Fields | undefined
  /** The body that its `Idempotency-Key` came with last. */
  readonly ofChosen?: Fields | undefined
}

/** Records in the order of `idsOf`. */
function recordedIn(records: readonly (Fields | undefined)[], alerts: number, key: string | undefined): Recorded {
  return { key, records: records.slice(0, alerts), ofKey: records[alerts], ofChosen: records[alerts + 1] }
}

/** What an alert was seen as, with the round of a key that is remembered beside it. */
function withRound(seen: Fields, key: string, round: Round, over: Fields | undefined): Fields {
  const set = over ?? noFields()
  for (const name in seen) set[name] = seen[name]
  set[roundField(key)] = round
  return set
}

function keyOf({ accepted, idempotencyKey, bytes }: PublishRequest): string | undefined {
  if (accepted.source === 'alertmanager') return publishKeyOf(accepted.notification)
  return idempotencyKey === undefined ? undefined : chosenKeyOf(idempotencyKey, bytes)
}

function chosenOf({ accepted, idempotencyKey }: PublishRequest): string | undefined {
  return accepted.source === 'alertmanager' || idempotencyKey === undefined ? undefined : chosenId(idempotencyKey)
}

/** Of the alerts in their order, then of the key, then of the `Idempotency-Key`. */
function idsOf(request: PublishRequest, key: string | undefined): string[] {
  const ids = alertIds(request.accepted.notification.alerts)
  if (key !== undefined) ids.push(ledgerId(key))
  const chosen = chosenOf(request)
  if (chosen !== undefined) ids.push(chosen)
  return ids
}

/**
 * What is recorded of an alert's last state: `k`, when it was accepted last, `s`, and when another one was, `o`. So it is
 * known of a state that it comes anew also where another group was the first to say so.
 */
function seenAs(alert: Alert, record: Fields | undefined, seq: number): Fields {
  const k = stateOf(alert)
  if (typeof record?.k !== 'string' || record.k === k || typeof record.s !== 'number') return { k, s: seq }
  return { k, s: seq, o: record.s }
}

/** Whether another state of the alert was accepted since that round began. */
function isOutdated(alert: Alert, record: Fields | undefined, round: number): boolean {
  if (typeof record?.k !== 'string') return false
  return record.k !== stateOf(alert) || (typeof record.o === 'number' && record.o > round)
}
