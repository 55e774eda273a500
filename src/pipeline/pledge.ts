import { type Hold, type Store, StoreUnavailable } from '../queues/contract.js'
import { acceptInTurns } from './accept.js'
import { type Admission, readAlerts } from './admission.js'
import { chooseAmongAll } from './elsewhere.js'
import { FanOut, type FanOutDeps, type FanOutPlan } from './fan-out.js'
import { createHurry } from './hurry.js'
import type { EffectiveOptions } from './options.js'
import { nameOf } from './outcome.js'
import { parseInTurns } from './pieces.js'
import type { Roster } from './roster.js'

/**
 * A publish that is owed as a whole. Tens of thousands of parts take longer to be written down, each with what its target
 * has, than their caller waits: so the body is written first, in one record, the caller is answered, and the parts follow.
 * Where the process dies meanwhile, whoever comes next goes on.
 */
export interface Pledge {
  readonly id: string
  readonly hold: Hold | undefined
}

export interface Pledges {
  /** Writes one down; durable once this resolves. Undefined where that is not possible: then each part is owed by itself. */
  make(plan: FanOutPlan): Promise<Pledge | undefined>
  /** All parts of it were tried to be owed, or told. */
  ended(pledge: Pledge, fan: FanOut): void
  /** Goes on with those that nobody goes on with. Call it once the targets are known. */
  start(): void
  stop(): Promise<void>
}

export interface PledgesDeps {
  readonly store: Store
  readonly roster: Roster
  readonly fanOut: Omit<FanOutDeps, 'isLatest'>
  readonly healthIntervalMs: number
  /** How long dead letters are kept, in milliseconds: so long is a target waited for that is not there. */
  readonly retentionMs: number
  warn(message: string, fields: Record<string, unknown>): void
  now(): number
}

/** The record of a pledge. Times are milliseconds since the epoch. */
interface Kept extends Pick<Admission, 'seq' | 'round'> {
  readonly key: string
  readonly publish_id: string
  readonly accepted_at: number
  readonly targets: readonly Owed[]
  readonly unfiltered: boolean
  readonly options: EffectiveOptions
  readonly sender: string
  readonly traceparent: string | null
  /** As it came. */
  readonly body: string
}

/** A target that it is owed to, as long as there is one of that name and type. */
interface Owed {
  readonly name: string
  readonly type: string
}

const prefix = 'pledge/'
/** How often it is looked for pledges that nobody goes on with, in milliseconds. */
const lookMs = 15_000

export function createPledges(deps: PledgesDeps): Pledges {
  const { store, roster, fanOut, healthIntervalMs, retentionMs, warn, now } = deps
  /** Those that this process goes on with. */
  const inHand = new Set<string>()
  /** Those of which it was told that they wait for a target. */
  const waiting = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  let on = false

  /** Undefined: another process has it. Where there is one process, it has them all. */
  const holdOf = async (id: string): Promise<Hold | undefined> => store.hold([`//${id}`])

  function letGo({ id, hold }: Pledge): void {
    inHand.delete(id)
    if (hold) store.release(hold)
  }

  function ended(pledge: Pledge, fan: FanOut): void {
    if (fan.isOwned()) store.note([{ id: pledge.id, drop: true }])
    else lookSoon(lookMs)
    letGo(pledge)
  }

  /** Looks again as long as there are any. Where there are other processes, they may leave some at any time. */
  async function look(): Promise<void> {
    const pledges = await store.list(prefix, undefined, 100, ['seq'])
    if (store.shared || pledges.length > 0) lookSoon(lookMs)
    for (const { id } of pledges) {
      if (!on) return
      if (inHand.has(id)) continue
      const hold = await holdOf(id)
      if (!hold) continue
      inHand.add(id)
      try {
        await goOn(id)
      } catch (error) {
        warn('a publish that is owed as a whole could not be gone on with', { error: nameOf(error) })
      } finally {
        letGo({ id, hold })
      }
    }
  }

  const isThere = ({ name, type }: Owed): boolean => {
    const live = roster.get(name)
    return live?.type === type && live.target.settings.enabled
  }

  async function goOn(id: string): Promise<void> {
    const [record] = await store.read([id])
    if (!record) return
    const kept = record as unknown as Kept
    const there = kept.targets.filter(isThere)
    const away = kept.targets.filter(target => !there.includes(target))
    if (away.length > 0 && !waiting.has(id)) {
      waiting.add(id)
      warn('a publish waits for targets that are not there', { target_names: away.map(({ name }) => name) })
    }
    if (there.length === 0) return
    const fan = await again(kept, there)
    if (!fan.isOwned()) return
    store.note([away.length === 0 ? { id, drop: true } : { id, set: { targets: away } }])
  }

  /** Has all of it owed that is not: what has ended, or is owed, is on record under its key. */
  async function again(kept: Kept, targets: readonly Owed[]): Promise<FanOut> {
    const names = targets.map(({ name }) => name)
    const { key, seq, round, publish_id: publishId, accepted_at: acceptedAt, options, unfiltered } = kept
    const bytes = Buffer.from(kept.body)
    const reading = await acceptInTurns(await parseInTurns(bytes), bytes, acceptedAt)
    if (!reading.ok) throw new Error('the body of a pledge cannot be read')
    const { notification } = reading.value
    const records = await readAlerts(store, notification)
    const admission = { seq, key, round, known: undefined, keptMs: 0, records, isNew: false, doubtful: true }
    const selection = { scope: 'named', names, unfiltered, options, now: now(), healthIntervalMs, records } as const
    const choices = await chooseAmongAll(store, notification, { roster, selection })
    const request = {
      accepted: reading.value,
      scope: 'named',
      options,
      bytes,
      sender: kept.sender,
      traceparent: kept.traceparent ?? undefined,
      onGone: () => {}
    } as const
    // Nobody waits for attempts.
    const hurry = createHurry()
    hurry.end()
    const until = Number.POSITIVE_INFINITY
    const plan = { request, notification, admission, choices, publishId, acceptedAt, until, hurry }
    const fan = new FanOut(plan, { ...fanOut, isLatest: () => false })
    await fan.ended
    return fan
  }

  function lookSoon(ms: number): void {
    clearTimeout(timer)
    if (on) timer = setTimeout(lookNow, ms).unref()
  }

  function lookNow(): void {
    looking ??= look()
      .catch(error => {
        warn('it could not be looked for publishes that are owed as a whole', { error: nameOf(error) })
        lookSoon(lookMs)
      })
      .then(() => {
        looking = undefined
      })
  }

  return {
    async make({ request, admission, choices, publishId, acceptedAt }) {
      const { key, seq, round } = admission
      // Others wait for as long as they asked to.
      if (key === undefined || request.accepted.source !== 'alertmanager') return undefined
      const id = `${prefix}${publishId}`
      const kept: Kept = {
        key,
        seq,
        round,
        publish_id: publishId,
        accepted_at: acceptedAt,
        targets: choices.flatMap(choice =>
          choice.kind === 'send' ? { name: choice.live.name, type: choice.live.type } : []
        ),
        unfiltered: request.unfiltered === true,
        options: request.options,
        sender: request.sender,
        traceparent: request.traceparent ?? null,
        body: request.bytes.toString()
      }
      inHand.add(id)
      let hold: Hold | undefined
      try {
        hold = await holdOf(id)
        await store.write([{ id, set: { ...kept }, expiresAt: acceptedAt + retentionMs }])
        return { id, hold }
      } catch (error) {
        letGo({ id, hold })
        if (error instanceof StoreUnavailable) return undefined
        throw error
      }
    },
    ended,
    start() {
      on = true
      lookSoon(0)
    },
    async stop() {
      on = false
      clearTimeout(timer)
      await looking
    }
  }
}
