import type { Address } from './address.js'
import type { Memory, Message, OpenTarget, WireRequest } from './contract.js'
import { failure } from './failures.js'
import { beginning, sha256 } from './incident.js'
import type { RootlySettings } from './rootly.js'
import { resolutionOf, type Subject, statusIn, subjectOf } from './rootly-text.js'
import { document, rootlyHeaders as headers, isList, judge, type Seen, seenIn } from './rootly-wire.js'
import { gravest, isKnown } from './severity.js'
import { json } from './text.js'

/** An incident's states (`new_incident.status` of Rootly's OpenAPI document) while it is under way, and once it is over. */
const underWay = 'in_triage,started,detected,acknowledged,mitigated'
const over = new Set(['resolved', 'closed', 'cancelled', 'completed'])

/**
 * Alerts as Rootly incidents (docs.rootly.com/api-reference/incidents). Remembered per lane: `id`, and `wrote`, a mark of
 * what was last written, so that a reminder that says nothing new leaves alone what people wrote into the incident.
 */
export function incidentsApi(settings: RootlySettings, { origin, under }: Address): OpenTarget {
  const incidents = under('/v1/incidents')
  const severityIds = new Map(
    Object.entries(settings.severity_ids ?? {}).map(([severity, id]) => [severity.toLowerCase(), id])
  )
  const one = (id: string, action = '') => under(`/v1/incidents/${encodeURIComponent(id)}${action}`)

  const isOver = (message: Message) => statusIn(message, settings.per) === 'resolved'
  const create = (message: Message): WireRequest => {
    const subject = subjectOf(message, settings.per)
    const attributes = {
      ...changing(message, subject),
      started_at: beginning(message.alerts),
      labels: subject.labels,
      url: subject.url,
      service_ids: settings.service_ids,
      environment_ids: settings.environment_ids,
      group_ids: settings.group_ids
    }
    return { method: 'POST', origin, path: incidents, headers, body: document('incidents', attributes) }
  }
  const update = (message: Message, id: string): WireRequest => {
    const body = document('incidents', changing(message, subjectOf(message, settings.per)))
    return { method: 'PUT', origin, path: one(id), headers, body }
  }
  const resolve = (message: Message, id: string): WireRequest => {
    const body = document('incidents', { resolution_message: resolutionOf(message) })
    return { method: 'PUT', origin, path: one(id, '/resolve'), headers, body }
  }
  const look = (id: string): WireRequest => ({ method: 'GET', origin, path: one(id), headers })
  const find = (message: Message): WireRequest => {
    const query = new URLSearchParams({
      'filter[search]': keyOf(message),
      'filter[status]': underWay,
      sort: '-created_at',
      'page[size]': '1'
    })
    return { method: 'GET', origin, path: `${incidents}${incidents.includes('?') ? '&' : '?'}${query}`, headers }
  }

  const changing = (message: Message, subject: Subject) => ({
    title: subject.title,
    summary: subject.summary,
    severity_id: severityId(severityIds, gravest(message.alerts))
  })
  const keyOf = (message: Message) => subjectOf(silently(message), settings.per).key
  const markOf = (message: Message) =>
    sha256(json(changing(message, subjectOf(silently(message), settings.per)))).slice(0, 16)
  /** Whoever died over a new incident in place of a closed one did not live to remember it. */
  const isMaybeAnother = (message: Message, id: string | undefined) => message.mayHave && id === message.memory.id
  /** Of others that may be open it is remembered until the end, which closes them, too. */
  const remember = (message: Message, id: string | undefined): Memory => {
    const { may_have } = message.memory
    return { ...(id && { id }), wrote: markOf(message), ...(may_have && { may_have }) }
  }

  return {
    origins: [origin],
    requests(message) {
      const { id, wrote } = message.memory
      if (isOver(message)) return [id === undefined ? find(message) : resolve(message, id)]
      if (id !== undefined) return [wrote === markOf(message) ? look(id) : update(message, id)]
      // Written but without an id: the answer to the create could not be read.
      return [message.mayHave || wrote !== undefined ? find(message) : create(message)]
    },

    answer(answer, message, request) {
      const verdict = judge(answer, message)
      const resolved = isOver(message)
      const id = idIn(request)
      const [seen] = seenIn(answer)
      switch (purposeOf(request)) {
        case 'create':
          return verdict.kind === 'delivered' ? { ...verdict, memory: remember(message, seen?.id) } : verdict
        case 'find': {
          if (verdict.kind !== 'delivered') return verdict
          if (!isList(answer)) return failure('connection', 'Rootly’s list of incidents could not be read')
          // What is remembered is over by now, whatever a search says that lags behind.
          const isSought = ({ id, text }: Seen) => id !== message.memory.id && text.includes(keyOf(message))
          const found = seenIn(answer).find(one => isOpen(one) && isSought(one))
          if (resolved && !found) return { kind: 'delivered', memory: {} }
          const next = resolved ? resolve(message, found!.id) : found ? update(message, found.id) : create(message)
          return { kind: 'instead', requests: [next], ...(found && { memory: { id: found.id } }) }
        }
        case 'resolve':
          // Gone or resolved by somebody else: there is nothing left to close.
          if (verdict.kind === 'delivered' || answer.statusCode === 404 || answer.statusCode === 409) {
            return isMaybeAnother(message, id)
              ? { kind: 'instead', requests: [find(message)], memory: {} }
              : { kind: 'delivered', memory: {} }
          }
          return verdict
        case 'update':
          // Deleted, or closed while the alert still fires: a closed incident calls nobody.
          if (answer.statusCode === 404 || (verdict.kind === 'delivered' && seen && !isOpen(seen))) {
            const next = isMaybeAnother(message, id) ? find(message) : create(message)
            return { kind: 'instead', requests: [next], memory: {} }
          }
          return verdict.kind === 'delivered' ? { ...verdict, memory: remember(message, id) } : verdict
      }
    }
  }
}

function purposeOf({ method, path }: WireRequest): 'create' | 'find' | 'resolve' | 'update' {
  if (method === 'POST') return 'create'
  if (path.includes('filter%5Bsearch%5D=')) return 'find'
  return /\/resolve(\?|$)/.test(path) ? 'resolve' : 'update'
}

function idIn({ path }: WireRequest): string | undefined {
  const id = /\/v1\/incidents\/([^/?]+)/.exec(path)?.[1]
  return id === undefined ? undefined : decodeURIComponent(id)
}

/** An incident whose status is not told counts as open: the search asked for such only. */
function isOpen({ status }: Seen): boolean {
  return status === undefined || !over.has(status)
}

/** The account's id for a severity; one that neither the account nor we know is taken as `error`. */
function severityId(ids: ReadonlyMap<string, string>, severity: string | undefined): string | undefined {
  if (severity === undefined) return undefined
  return ids.get(severity) ?? (isKnown(severity) ? undefined : ids.get('error'))
}

/** The same message on time and without a counter, for what must not depend on when it is sent. */
function silently(message: Message): Message {
  return { ...message, lateByMs: 0, truncated: () => {} }
}
