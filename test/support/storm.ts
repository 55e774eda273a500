import { setTimeout as sleep } from 'node:timers/promises'
import { bodyOf } from './posts.js'
import type { Answered } from './process.js'

/** An alert that fires and resolves as it likes, in one group or in two. */
interface Alert {
  readonly fingerprint: string
  status: 'firing' | 'resolved' | undefined
  startsAt: string
  endsAt: string
  /** Larger with every change. */
  version: number
}

/** What Alertmanager tells together, under one key. */
export interface Group {
  readonly receiver: string
  readonly key: string
  readonly alerts: readonly Alert[]
}

/** An Alertmanager, or a pair of them, whose alerts come and go: each change is posted until a 2xx takes it. */
export interface Storm {
  readonly groups: readonly Group[]
  /** How many notifications were answered with each status; 0 where there was no answer. */
  readonly answers: Readonly<Record<number, number>>
  /** Changes nothing more, and resolves once every change has been taken. */
  stop(): Promise<void>
  /** Gives every alert a new state, and resolves once those have been taken. */
  changeAll(): Promise<void>
}

export interface StormOptions {
  /** Posts one notification; rejects where there is no answer. */
  post(body: object): Promise<Answered>
  random(): number
}

/** What an Alertmanager gives up before it looks at its alerts anew, in milliseconds. */
const patienceMs = 1_500

export function startStorm({ post, random }: StormOptions): Storm {
  const groups = groupsOf(8, random)
  const alerts = [...new Set(groups.flatMap(group => group.alerts))]
  const answers: Record<number, number> = {}
  /** What each group was told last of its alerts. */
  const told = new Map<Group, Map<string, number>>()
  let clock = Date.parse('2026-11-20T18:00:00Z')
  let on = true

  function change(alert: Alert): void {
    clock += 1_000
    const at = new Date(clock).toISOString()
    alert.version++
    // What fires again after a short gap may have its old beginning.
    if (alert.status !== 'firing' && (alert.status === undefined || random() < 0.6)) alert.startsAt = at
    alert.status = alert.status === 'firing' ? 'resolved' : 'firing'
    alert.endsAt = alert.status === 'firing' ? '0001-01-01T00:00:00Z' : at
  }

  /** False if it was not taken in time. */
  async function tell(body: object): Promise<boolean> {
    for (const end = Date.now() + patienceMs; Date.now() < end; await sleep(50 + 150 * random())) {
      const status = await post(body).then(
        answer => answer.status,
        () => 0
      )
      answers[status] = (answers[status] ?? 0) + 1
      if (status >= 200 && status < 300) return true
    }
    return false
  }

  /** Tells a group what it was not told yet. */
  async function flush(group: Group): Promise<void> {
    const known = told.get(group) ?? new Map<string, number>()
    const isKnown = ({ fingerprint, version }: Alert): boolean => known.get(fingerprint) === version
    const listed = group.alerts.filter(alert => alert.status === 'firing' || (alert.status && !isKnown(alert)))
    if (listed.every(isKnown)) return
    const states = listed.map(alert => ({ ...alert }))
    const bodies = [notification(group, states, 'http://alertmanager-1:9093')]
    if (random() < 0.2) bodies.push(notification(group, states, 'http://alertmanager-2:9093'))
    if ((await Promise.all(bodies.map(tell))).includes(true))
      told.set(group, new Map([...known, ...states.map(({ fingerprint, version }) => [fingerprint, version] as const)]))
  }

  const isTold = (group: Group): boolean =>
    group.alerts.every(({ fingerprint, version }) => version === 0 || told.get(group)?.get(fingerprint) === version)

  async function settle(): Promise<void> {
    await Promise.all(
      groups.map(async group => {
        while (!isTold(group)) await flush(group)
      })
    )
  }

  const running = [
    ...groups.map(async group => {
      for (; on; await sleep(400 * random())) await flush(group)
    }),
    (async () => {
      for (; on; await sleep(200 * random())) change(alerts[Math.floor(alerts.length * random())]!)
    })()
  ]
  return {
    groups,
    answers,
    async stop() {
      on = false
      await Promise.all(running)
      await settle()
    },
    async changeAll() {
      for (const alert of alerts) change(alert)
      await settle()
    }
  }
}

/** Groups of two to four alerts. Half of them are told to another receiver as well, under a key of its own. */
function groupsOf(count: number, random: () => number): Group[] {
  return Array.from({ length: count }, (_, index) => {
    const alerts = Array.from({ length: 2 + Math.floor(3 * random()) }, (_, each) => newAlert(`g${index}a${each}`))
    const receivers = index < count / 2 ? ['team', 'other'] : ['team']
    return receivers.map(receiver => ({ receiver, key: `{}/{to="${receiver}"}:{group="${index}"}`, alerts }))
  }).flat()
}

function newAlert(fingerprint: string): Alert {
  return { fingerprint, status: undefined, startsAt: '', endsAt: '', version: 0 }
}

function notification({ receiver, key }: Group, alerts: readonly Alert[], externalURL: string): object {
  return bodyOf({
    receiver,
    groupKey: key,
    status: alerts.some(({ status }) => status === 'firing') ? 'firing' : 'resolved',
    alerts: alerts.map(({ version, ...alert }) => ({
      ...alert,
      labels: { alertname: alert.fingerprint, severity: 'critical' },
      annotations: { version: String(version) },
      generatorURL: ''
    })),
    externalURL
  })
}
