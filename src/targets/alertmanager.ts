import { createHash } from 'node:crypto'
import Type, { type Static } from 'typebox'
import type { Alert } from '../alert.js'
import { Duration, type Problem, SecretText } from '../schema.js'
import { type Address, addressOf, fieldOf, urlProblems } from './address.js'
import type { Message, OpenTarget, TargetKind, Verdict, WireAnswer, WireRequest } from './contract.js'
import { failure, judgeByStatus } from './failures.js'
import { time } from './incident.js'
import { settingsOf } from './settings.js'
import { json } from './text.js'

const schema = settingsOf(
  'alertmanager',
  {
    url: Type.Optional(SecretText({ description: 'an http or https URL, without /api/v2/alerts' })),
    urls: Type.Optional(
      Type.Array(SecretText({ description: 'an http or https URL, without /api/v2/alerts' }), {
        minItems: 1,
        description: 'The peers of one cluster, each of which gets every alert.'
      })
    ),
    hold: Duration({
      default: '5h',
      description:
        'How long a firing alert stays firing there without news, from 1s to 30d; above the repeat_interval of the sender.'
    })
  },
  [
    { name: 'am', type: 'alertmanager', url: 'http://alertmanager.example.com:9093' },
    {
      name: 'am-pair',
      type: 'alertmanager',
      urls: ['http://am-0.example.com:9093/am', 'http://am-1.example.com:9093/am'],
      hold: '2h',
      auth: { type: 'basic', username: 'fanout', password: 'example-password' }
    }
  ]
)
type Settings = Static<typeof schema>

/** Another Alertmanager, or a cluster of them, by its own API. */
export const alertmanager: TargetKind<Settings> = {
  type: 'alertmanager',
  title: 'Alertmanager',
  schema,
  defaults: { maxConcurrent: 50 },
  audience: 'incident',
  succeedsWith: 'any',
  lane: () => 'group',
  check({ url, urls, hold }, root) {
    const missing = {
      field: fieldOf(root, 'url'),
      message: 'is required',
      suggestion: 'add url, or urls for a cluster'
    }
    return [
      ...(url || urls ? [] : [missing]),
      ...(url ? urlProblems(url, fieldOf(root, 'url')) : []),
      ...(urls ?? []).flatMap((peer, index) => urlProblems(peer, `${fieldOf(root, 'urls')}[${index}]`)),
      ...holdProblems(hold, fieldOf(root, 'hold'))
    ]
  },
  open({ url, urls, hold }): OpenTarget {
    const peers = new Map(
      [...(url ? [url] : []), ...(urls ?? [])].map(peer => [partOf(peer.reveal()), addressOf(peer)])
    )
    const keys = [...peers.keys()]
    const anyPeer = [...peers.values()][0]!
    return {
      origins: [...new Set([...peers.values()].map(peer => peer.origin))],
      forgets: true,
      peers: keys,
      parts: alerts => keys.map(key => ({ key, alerts })),
      // What waits for a peer that has left the cluster goes to one that is still in it.
      requests: message => [post(peers.get(message.part) ?? anyPeer, [message.alerts], { message, hold, refused: 0 })],
      answer: (answer, message, request) => answered(answer, request as Post, { message, hold })
    }
  }
}

/** Without any, an alert would be over as it arrives; with far too much, its end could not be written as a time. */
function holdProblems(hold: number, field: string): Problem[] {
  if (hold >= 1_000 && hold <= 30 * 86_400_000) return []
  return [{ field, message: 'is not from 1s to 30d', suggestion: 'write it as 5h: above the sender’s repeat_interval' }]
}

/** By its address, so that a change of order moves no part to another peer. */
function partOf(url: string): string {
  return `peer-${createHash('sha256').update(url).digest('hex').slice(0, 12)}`
}

/** One POST, and what has to follow it. */
interface Post extends WireRequest {
  readonly peer: Address
  readonly alerts: readonly Alert[]
  /** Lists still to be posted. */
  readonly waiting: readonly (readonly Alert[])[]
  /** How many alerts were refused for good by now. */
  readonly refused: number
}

const headers = { 'content-type': 'application/json' }

function post(
  peer: Address,
  [alerts = [], ...waiting]: readonly (readonly Alert[])[],
  { message, hold, refused }: { message: Message; hold: number; refused: number }
): Post {
  const body = json(alerts.map(alert => wireAlert(alert, message.now, hold)))
  return {
    method: 'POST',
    origin: peer.origin,
    path: peer.under('/api/v2/alerts'),
    headers,
    body,
    peer,
    alerts,
    waiting,
    refused
  }
}

/**
 * A list with one bad alert in it is answered 400 or 422, whether the good ones were stored or not. Its halves are
 * posted again, and theirs, until the bad ones stand alone; a post of what is stored already changes nothing.
 */
function answered(answer: WireAnswer, request: Post, { message, hold }: { message: Message; hold: number }): Verdict {
  const { peer, alerts } = request
  const bad = answer.statusCode === 400 || answer.statusCode === 422
  if (bad && alerts.length > 1) {
    const half = Math.ceil(alerts.length / 2)
    const lists = [alerts.slice(0, half), alerts.slice(half), ...request.waiting]
    return { kind: 'instead', requests: [post(peer, lists, { message, hold, refused: request.refused })] }
  }
  const verdict = judgeByStatus(answer, 'Alertmanager', message.now)
  if (verdict.kind === 'failed' && !bad) return verdict
  const refused = request.refused + (bad ? 1 : 0)
  if (request.waiting.length > 0)
    return { kind: 'instead', requests: [post(peer, request.waiting, { message, hold, refused })] }
  if (refused === 0) return verdict
  const all = message.alerts.length
  return failure('client_error', `Alertmanager refused ${refused} of ${all} alerts`, {
    statusCode: bad ? answer.statusCode : 400,
    mayHave: refused < all
  })
}

/**
 * An alert as Alertmanager's API v2 takes it. One without an end, or with the zero time, would be resolved after the
 * receiver's own `resolve_timeout`, so a firing one ends `hold` milliseconds from now, and each notification renews it.
 */
function wireAlert(alert: Alert, now: number, hold: number) {
  const starts = timeOf(alert.starts_at, now)
  // An annotation without a name would have the alert refused.
  const { '': _, ...annotations } = alert.annotations
  const ends =
    alert.status === 'firing'
      ? timeOf('', Math.min(Math.max(now, starts.ms) + hold, lastMs))
      : timeOf(alert.ends_at ?? '', now)
  return {
    labels: alert.labels,
    annotations: { ...classificationOf(alert), ...annotations },
    // A start after the end is refused.
    startsAt: starts.ms > ends.ms ? ends.text : starts.text,
    endsAt: ends.text,
    ...(isUri(alert.generator_url) ? { generatorURL: alert.generator_url } : {})
  }
}

// RFC 3339 has years of four digits.
const firstMs = Date.parse('0000-01-01T00:00:00Z')
const lastMs = Date.parse('9999-12-31T23:59:59.999Z')

/** A time as it was written if that is RFC 3339, which alone Alertmanager reads; else rewritten, or the one to fall back on. */
function timeOf(written: string, fallbackMs: number): { ms: number; text: string } {
  const ms = Date.parse(written)
  if (!(ms >= firstMs && ms <= lastMs)) return { ms: fallbackMs, text: new Date(fallbackMs).toISOString() }
  return { ms, text: time(written) ?? new Date(ms).toISOString() }
}

/** What was added upstream, as annotations: labels are the alert's identity. */
function classificationOf({ classification, enrichment }: Alert): Record<string, string> {
  const { severity, confidence, reasoning, recommendations } = classification ?? {}
  return {
    ...(severity === undefined ? {} : { classification_severity: severity }),
    ...(confidence === undefined ? {} : { classification_confidence: String(confidence) }),
    ...(reasoning === undefined ? {} : { classification_reasoning: reasoning }),
    ...(recommendations === undefined ? {} : { classification_recommendations: recommendations.join('\n') }),
    ...(enrichment === undefined ? {} : { enrichment: json(enrichment) })
  }
}

const authority = /^https?:\/\/([\w.~:%-]+@)?([\w.~-]+|\[[\da-f:.]+\])(:\d*)?([/?]|$)/i
const unsafe = /[\s\p{Cc}\p{Cs}]|%(?![\da-f]{2})/iu

/**
 * Whether Go takes it for a URI too, which is stricter than `URL` about all that stands before the path: Alertmanager
 * refuses the whole alert otherwise, so what may be in doubt is none.
 */
function isUri(text: string | undefined): text is string {
  return text !== undefined && authority.test(text) && !unsafe.test(text) && URL.canParse(text)
}
