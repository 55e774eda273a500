import type { Test } from 'tap'
import { bodyOf } from './posts.js'
import type { Answered } from './process.js'
import { type Answer, type Json, startStandIn, type Taken } from './stand-in.js'

/** A state of one alert: which, and the how-manieth notification told it. A resolve comes after all. */
export interface State {
  readonly fingerprint: string
  readonly status: 'firing' | 'resolved'
  readonly step: number
}

/** A target that keeps the states it took. */
export interface Witness {
  readonly name: string
  /** Whether each alert goes to it in a request of its own. */
  readonly kind: 'pagerduty' | 'webhook'
  readonly settings: object
  /** What it took, oldest first; what it did not answer with a 2xx is not in it. */
  readonly took: (State & { readonly at: number })[]
  /** Answers by this from now on. */
  answer(script: () => Answer): void
}

const resolvedStep = 1_000

/** Starts a target that takes whatever comes, until it is told to answer otherwise. */
export async function startWitness(t: Test, name: string, more: object = {}): Promise<Witness> {
  let script: () => Answer = () => ({})
  const took: Witness['took'] = []
  const settings = { name, type: 'webhook', ...more } as { name: string; type: Witness['kind'] }
  const server = await startStandIn(t, request => {
    const answer = script()
    // A health check carries nothing.
    if (typeof answer === 'object' && (answer.status ?? 200) < 300 && request.method === 'POST') {
      const at = Date.now()
      for (const state of statesIn(request)) took.push({ ...state, at })
    }
    return settings.type === 'pagerduty' && typeof answer === 'object' ? { status: 202, ...answer } : answer
  })
  return {
    name,
    kind: settings.type,
    settings: { url: server.url, rate_limit: { requests: 100_000, per: '1s', burst: 100_000 }, ...settings },
    took,
    answer(next) {
      script = next
    }
  }
}

function statesIn(request: Taken): State[] {
  const body = request.json()
  if ('event_action' in body) {
    const { dedup_key: fingerprint, event_action, payload } = body
    return [stateOf(fingerprint, event_action === 'resolve', payload?.custom_details?.annotations?.step)]
  }
  return body.alerts.map(({ fingerprint, status, annotations }: Json) =>
    stateOf(fingerprint, status === 'resolved', annotations.step)
  )
}

function stateOf(fingerprint: string, isResolved: boolean, step: string): State {
  return { fingerprint, status: isResolved ? 'resolved' : 'firing', step: isResolved ? resolvedStep : Number(step) }
}

/** Alerts that fire and resolve, posted as Alertmanager does: again and again until a 2xx says that they are owned. */
export interface Lives {
  /** The last state of each alert that was answered with a 2xx. */
  readonly acknowledged: ReadonlyMap<string, State>
  /** How many notifications were answered with each status; 0 where there was no answer. */
  readonly answers: Readonly<Record<number, number>>
  /** Begins nothing new, and resolves once everything begun has been answered or given up. */
  stop(): Promise<void>
}

export interface LivesOptions {
  /** Posts one notification; rejects where there is no answer. */
  post(body: object): Promise<Answered>
  /** How many groups live at once. */
  readonly groups: number
  random(): number
}

/** Lets groups of one to three alerts fire and resolve, one group after the other in each of so many places. */
export function startLives({ post, groups, random }: LivesOptions): Lives {
  const acknowledged = new Map<string, State>()
  const answers: Record<number, number> = {}
  let serial = 0
  let on = true

  /** False if it was given up, as when alerts fire and resolve while nobody answers: then only their beginning was told. */
  async function tell(group: string, states: readonly State[]): Promise<boolean> {
    const body = notification(group, states)
    const mayGiveUp = states.every(({ step }) => step === 1) && random() < 0.2
    for (;;) {
      const status = await post(body).then(
        answer => answer.status,
        () => 0
      )
      answers[status] = (answers[status] ?? 0) + 1
      if (status >= 200 && status < 300) {
        for (const state of states) acknowledged.set(state.fingerprint, state)
        return true
      }
      if (mayGiveUp && on) return false
      await new Promise(resolve => setTimeout(resolve, 10 + 90 * random()))
    }
  }

  async function live(): Promise<void> {
    const group = `g${++serial}`
    const alerts = Array.from({ length: 1 + Math.floor(3 * random()) }, (_, index) => `${group}a${index}`)
    const resolved = new Set<string>()
    for (let step = 1; alerts.some(name => !resolved.has(name)); step++) {
      const ends = step === 1 ? [] : alerts.filter(name => !resolved.has(name) && random() < 0.6)
      const states = alerts
        .filter(name => !resolved.has(name))
        .map(fingerprint => {
          const isResolved = ends.includes(fingerprint)
          return {
            fingerprint,
            status: isResolved ? 'resolved' : 'firing',
            step: isResolved ? resolvedStep : step
          } as const
        })
      const changed = step === 1 || ends.length > 0
      // What fires for good stays so now and then, and nothing new is begun after the end.
      if (!changed || !(await tell(group, states)) || !on || random() < 0.15) return
      for (const name of ends) resolved.add(name)
    }
  }

  const running = Array.from({ length: groups }, async () => {
    while (on) await live()
  })
  return {
    acknowledged,
    answers,
    async stop() {
      on = false
      await Promise.all(running)
    }
  }
}

function notification(group: string, states: readonly State[]): object {
  const fires = states.some(({ status }) => status === 'firing')
  return bodyOf({
    groupKey: `{}:{group="${group}"}`,
    status: fires ? 'firing' : 'resolved',
    alerts: states.map(({ fingerprint, status, step }) => ({
      status,
      labels: { alertname: fingerprint, severity: 'critical' },
      annotations: { step: String(step) },
      startsAt: '2026-11-20T18:17:30.86Z',
      endsAt: status === 'firing' ? '0001-01-01T00:00:00Z' : '2026-11-20T18:30:00Z',
      generatorURL: '',
      fingerprint
    })),
    groupLabels: { group }
  })
}

export interface Account {
  /** What was acknowledged and that a target has not. */
  readonly lost: string[]
  /** What a target took after it took something newer of the same alert. */
  readonly disorder: string[]
  /** What a target took although it had it, with the time at which it first took it and took it again. */
  readonly extra: { readonly what: string; readonly at: number; readonly againAt: number }[]
}

/** Holds what the targets took against what was acknowledged. */
export function accountFor(lives: Lives, witnesses: readonly Witness[]): Account {
  const lost: string[] = []
  const disorder: string[] = []
  const extra: { what: string; at: number; againAt: number }[] = []
  for (const { name, kind, took } of witnesses) {
    const newest = new Map<string, number>()
    const first = new Map<string, number>()
    for (const { fingerprint, step, at } of took) {
      const what = `${name}: ${fingerprint} step ${step}`
      if (step < (newest.get(fingerprint) ?? 0)) disorder.push(`${what} after step ${newest.get(fingerprint)}`)
      newest.set(fingerprint, Math.max(step, newest.get(fingerprint) ?? 0))
      const before = first.get(what)
      if (before === undefined) first.set(what, at)
      else extra.push({ what, at: before, againAt: at })
    }
    for (const { fingerprint, status, step } of lives.acknowledged.values()) {
      const has = newest.get(fingerprint)
      // An incident tool need not hear of an end whose beginning it never had.
      if (has === undefined && status === 'resolved' && kind === 'pagerduty') continue
      if (has === undefined || has < step) lost.push(`${name}: ${fingerprint} step ${step}, has ${has ?? 'nothing'}`)
    }
  }
  return { lost, disorder, extra }
}

/** Random numbers that come again with the same seed. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
