import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import { type Answer, type Json, startStandIn, type Taken } from './stand-in.js'

/** How a vendor behaves: `late`, `mute` and `broken` take what they are sent, `deaf` and `down` do not. */
export const moods = ['well', 'late', 'mute', 'broken', 'deaf', 'down', 'strict'] as const
export type Mood = (typeof moods)[number]

/** A vendor that keeps what it is told, as the real one does: what counts in the end is what is open there. */
export interface Vendor {
  readonly name: string
  /** Its target, as it stands in a file of targets. */
  readonly settings: object
  readonly perGroup: boolean
  /** How many incidents of a group, or of an alert, are open. */
  open(key: string): number
  /** Each request and what came of it, oldest first: to find out how something went wrong. */
  readonly heard: readonly string[]
  be(mood: Mood): void
}

/** What it takes, and says. */
type Take = (request: Taken) => Answer

/** The incident key that `per: group` gives. */
export const groupKeyOf = (group: string): string => createHash('sha256').update(group).digest('hex')

/** One vendor of each kind that has a state of its own. */
export function startVendors(t: Test): Promise<Vendor[]> {
  const auth = { type: 'bearer', token: 'token' }
  return Promise.all([
    startVendor(t, 'hook', { type: 'webhook' }, webhook()),
    startVendor(t, 'pager', { type: 'pagerduty', routing_key: 'R0' }, pagerduty()),
    startVendor(t, 'pager-group', { type: 'pagerduty', routing_key: 'R0', per: 'group' }, pagerduty()),
    startVendor(t, 'rootly', { type: 'rootly', auth }, rootly()),
    startVendor(t, 'rootly-group', { type: 'rootly', auth, per: 'group' }, rootly()),
    startVendor(t, 'central', { type: 'alertmanager' }, alertmanager())
  ])
}

interface Kept {
  readonly take: Take
  open(key: string): number
}

async function startVendor(t: Test, name: string, settings: object, { take, open }: Kept): Promise<Vendor> {
  let mood: Mood = 'well'
  const answers: Record<Mood, Take> = {
    well: take,
    late: request => ({ ...(take(request) as object), delayMs: 400 }),
    mute: request => {
      take(request)
      return 'hang'
    },
    broken: request => {
      take(request)
      return 'reset'
    },
    deaf: () => 'hang',
    down: () => ({ status: 503 }),
    strict: () => ({ status: 400 })
  }
  const isCheck = ({ method, path }: Taken): boolean => method === 'GET' && path === '/'
  const heard: string[] = []
  const server = await startStandIn(t, request => {
    if (isCheck(request)) return {}
    const answer = answers[mood](request)
    const { method, path, bytes } = request
    heard.push(`${new Date().toISOString()} ${mood} ${method} ${path} ${bytes} => ${JSON.stringify(answer)}`)
    return answer
  })
  return {
    name,
    settings: { name, url: server.url, rate_limit: { requests: 100_000, per: '1s', burst: 100_000 }, ...settings },
    perGroup: 'per' in settings,
    open,
    heard,
    be(next) {
      mood = next
    }
  }
}

function webhook(): Kept {
  const firing = new Set<string>()
  return {
    take(request) {
      for (const { fingerprint, status } of request.json().alerts) toggle(firing, fingerprint, status === 'firing')
      return {}
    },
    open: key => Number(firing.has(key))
  }
}

function pagerduty(): Kept {
  const triggered = new Set<string>()
  return {
    take(request) {
      const { dedup_key, event_action } = request.json()
      toggle(triggered, dedup_key, event_action === 'trigger')
      return { status: 202, body: JSON.stringify({ status: 'success', dedup_key }) }
    },
    open: key => Number(triggered.has(key))
  }
}

function alertmanager(): Kept {
  const active = new Set<string>()
  return {
    take(request) {
      for (const { labels, endsAt } of request.json()) toggle(active, labels.alertname, Date.parse(endsAt) > Date.now())
      return {}
    },
    open: key => Number(active.has(key))
  }
}

/** Incidents are made under ids of its own, and may be made twice. */
function rootly(): Kept {
  const incidents = new Map<string, { readonly key: string; summary: string; status: string }>()
  const shown = (id: string): Json => {
    const { summary, status } = incidents.get(id)!
    return { id, type: 'incidents', attributes: { summary, status } }
  }
  const isOpen = ([, { status }]: [string, { status: string }]): boolean => status !== 'resolved'
  const answer = (status: number, data: Json): Answer => ({ status, body: JSON.stringify({ data }) })
  return {
    take(request) {
      const { pathname, searchParams } = new URL(request.path, 'http://rootly')
      const [, id, verb] = /^\/v1\/incidents\/([^/]+)(\/resolve)?$/.exec(pathname) ?? []
      if (request.method === 'POST') {
        const { labels, summary } = request.json().data.attributes
        const made = `inc-${incidents.size + 1}`
        incidents.set(made, { key: labels.fingerprint, summary, status: 'started' })
        return answer(201, shown(made))
      }
      if (id === undefined) {
        const sought = searchParams.get('filter[search]') ?? ''
        const found = [...incidents].filter(isOpen).filter(([, { summary }]) => summary.includes(sought))
        return answer(
          200,
          found.map(([each]) => shown(each))
        )
      }
      const incident = incidents.get(id)
      if (!incident) return { status: 404 }
      if (verb && incident.status === 'resolved') return { status: 409 }
      if (verb) incident.status = 'resolved'
      else if (request.method === 'PUT') incident.summary = request.json().data.attributes.summary
      return answer(200, shown(id))
    },
    open: key => [...incidents].filter(isOpen).filter(([, incident]) => incident.key === key).length
  }
}

function toggle(set: Set<string>, key: string, isIn: boolean): void {
  if (isIn) set.add(key)
  else set.delete(key)
}
