import Type, { type Static } from 'typebox'
import type { Alert, Notification } from '../alert.js'
import type { Fields, Store } from '../queues/contract.js'
import { redact, secretsIn } from '../secret.js'
import type { Memory, Message, WireRequest } from '../targets/contract.js'
import { type Line, openLine } from '../targets/send.js'
import { chooseAmongAll } from './elsewhere.js'
import { alertId, memoryId, newId, peerOf, perGroup, slotOf, stateField } from './entry.js'
import { partsOf } from './fan-out.js'
import { contentKeyOf } from './ledger.js'
import { type Step, stepOf, unpackState } from './lifecycle.js'
import type { LiveTarget } from './live.js'
import type { EffectiveOptions } from './options.js'
import type { Roster } from './roster.js'
import type { Choice, Scope } from './select.js'
import { tells } from './takeover.js'
import { isMany, turn } from './turn.js'

const ExplainedRequest = Type.Object({
  method: Type.String(),
  url: Type.String({ description: 'Secrets replaced by [secret].' }),
  headers: Type.Record(Type.String(), Type.String()),
  body: Type.String({ description: 'As it would be sent, secrets replaced by [secret].' }),
  body_bytes: Type.Integer({ description: 'Size of the real body.' })
})

export const Explanation = Type.Object({
  results: Type.Array(
    Type.Object({
      target_name: Type.String(),
      target_type: Type.Optional(Type.String()),
      decision: Type.Enum(['send', 'queue', 'skip', 'unknown']),
      reason: Type.String({ description: 'Why, in words.' }),
      alerts: Type.Integer({ description: 'How many of the alerts it would get.' }),
      truncated: Type.Array(Type.String(), { description: 'Fields cut to the vendor’s limits.' }),
      requests: Type.Array(ExplainedRequest)
    })
  )
})
export type Explanation = Static<typeof Explanation>
type Explained = Explanation['results'][number]

export interface ExplainRequest {
  readonly notification: Notification
  readonly scope: Scope
  readonly names?: readonly string[]
  readonly options: EffectiveOptions
}

export interface ExplainDeps {
  readonly store: Store
  readonly roster: Roster
  readonly userAgent: string
  readonly healthIntervalMs: number
  now(): number
}

/** Tells what a publish would do, and the very requests that the targets' kinds would send. Sends and changes nothing. */
export function createExplain(deps: ExplainDeps): (request: ExplainRequest) => Promise<Explanation> {
  return async ({ notification, scope, names, options }) => {
    const now = deps.now()
    const records = await deps.store.read(notification.alerts.map(alert => alertId(alert.fingerprint)))
    const states = new Map(notification.alerts.map((alert, index) => [alert.fingerprint, records[index]]))
    const { roster, store, healthIntervalMs } = deps
    const selection = { scope, names, options, now, records, healthIntervalMs, tellDisabled: true }
    const choices = await chooseAmongAll(store, notification, { roster, selection })
    return { results: await Promise.all(choices.map(choice => explained(choice, notification, states))) }
  }

  async function explained(
    choice: Choice,
    notification: Notification,
    states: Map<string, Fields | undefined>
  ): Promise<Explained> {
    const nothing = { alerts: 0, truncated: [], requests: [] }
    if (choice.kind === 'unknown')
      return { target_name: choice.name, decision: 'unknown', reason: 'no target has this name', ...nothing }
    const { live } = choice
    const base = { target_name: live.name, target_type: live.type }
    if (choice.kind === 'skip') return { ...base, decision: 'skip', reason: reasons[choice.reason]!, ...nothing }
    const line = openLine(live.target, deps.userAgent)
    // Values of headers may be as plain as a team's name, which alerts carry as well, and no kind writes them into a body.
    const inBody = secretsIn({ ...live.target.settings, headers: undefined })
    const truncated: string[] = []
    const requests: Explained['requests'] = []
    const told = new Set<Alert>()
    for (const part of partsOf(choice, notification)) {
      const slot = slotOf(live.target, part, notification)
      const peer = peerOf(live.target.wire, part.key)
      const field = stateField({ target: live.name, peer, slot, per_group: perGroup(live.target) })
      const steps = part.alerts.map(alert => stepAt(live, alert, states.get(alert.fingerprint)?.[field]))
      const telling = part.alerts.filter((_, index) => tells(steps[index]!))
      if (telling.length === 0) continue
      if (isMany(choice.alerts)) await turn()
      for (const alert of telling) told.add(alert)
      const [memory] = await deps.store.read([memoryId({ target: live.name, slot })])
      const message = messageOf(
        live,
        notification,
        { alerts: telling, key: part.key, firedAndResolved: !steps.includes('send') },
        (memory ?? {}) as Memory,
        field => truncated.push(field)
      )
      for (const request of live.target.wire.requests(message)) requests.push(shown(request, live, { line, inBody }))
    }
    if (requests.length === 0) return { ...base, decision: 'skip', reason: reasons.resolved_not_wanted!, ...nothing }
    const inTheWay = choice.heldBack ?? (live.pausedUntil > deps.now() ? 'paused' : undefined)
    return {
      ...base,
      decision: inTheWay ? 'queue' : 'send',
      reason: inTheWay
        ? `it is owed and waits in the queue: ${reasons[inTheWay]}`
        : 'enabled, let through by its filter, health and circuit',
      alerts: told.size,
      truncated: [...new Set(truncated)],
      requests
    }
  }

  function messageOf(
    live: LiveTarget,
    notification: Notification,
    part: { key: string; alerts: readonly Alert[]; firedAndResolved: boolean },
    memory: Memory,
    truncated: (field: string) => void
  ): Message {
    const now = deps.now()
    return {
      notification,
      alerts: part.alerts.length === notification.alerts.length ? notification.alerts : part.alerts,
      part: part.key,
      memory,
      now,
      truncated,
      publishId: newId('p', now),
      deliveryKey: `${contentKeyOf('explain', part.alerts)}-${live.mark}`,
      lateByMs: 0,
      mayHave: false,
      firedAndResolved: part.firedAndResolved
    }
  }

  /** The headers that the sender would write. Those of the target's own settings may carry credentials, each of them. */
  function headersOf(request: WireRequest, live: LiveTarget, line: Line): Record<string, string> {
    const headers: Record<string, string> = { 'idempotency-key': perAttempt }
    // A kind may write a credential of its own, as Slack's does with its token.
    for (const [name, value] of Object.entries(request.headers))
      headers[name.toLowerCase()] = redact(value, live.target.secrets)
    if (line.sign) for (const name of signature) headers[name] = perAttempt
    for (let at = 0; at < line.headers.length; at += 2) {
      const name = line.headers[at]!.toLowerCase()
      const open = name === 'user-agent' && !line.own.has(name)
      headers[name] = open ? deps.userAgent : '[secret]'
    }
    return headers
  }

  /** `inBody`: the secrets that a body may carry. */
  function shown(
    request: WireRequest,
    live: LiveTarget,
    { line, inBody }: { line: Line; inBody: readonly string[] }
  ): Static<typeof ExplainedRequest> {
    const { secrets } = live.target
    const clean = (text: string) => redact(text, secrets)
    return {
      method: request.method,
      // A URL may be the secret itself, as Slack's is: the origin tells enough then.
      url: secrets.some(leadsOn) ? `${request.origin}/[secret]` : `${request.origin}${clean(request.path)}`,
      headers: headersOf(request, live, line),
      body: redact(request.body?.toString() ?? '', inBody),
      body_bytes: request.body === undefined ? 0 : Buffer.byteLength(request.body)
    }
  }
}

/** UTF-16 units of an answer that are written before others get the event loop. */
const textAtOnce = 256 * 1024

/** An explanation as JSON, bit by bit: what thousands of alerts would be sent as comes to many megabytes. */
export async function* textOf({ results }: Explanation): AsyncGenerator<string> {
  let text = '{"results":['
  for (const [index, { requests, ...result }] of results.entries()) {
    text += `${index > 0 ? ',' : ''}${JSON.stringify(result).slice(0, -1)},"requests":[`
    for (const [place, request] of requests.entries()) {
      text += (place > 0 ? ',' : '') + JSON.stringify(request)
      if (text.length < textAtOnce) continue
      yield text
      text = ''
      await turn()
    }
    text += ']}'
  }
  yield `${text}]}`
}

/** Whether it is a URL that says more than whom to talk to. */
function leadsOn(secret: string): boolean {
  if (!URL.canParse(secret)) return false
  const { protocol, pathname, search } = new URL(secret)
  return protocol.startsWith('http') && (pathname !== '/' || search !== '')
}

/** Headers that are made anew for each publish or attempt. */
const perAttempt = '[made when it is sent]'
const signature = ['webhook-id', 'webhook-timestamp', 'webhook-signature']

/** What would become of an alert if it came now. */
function stepAt({ target }: LiveTarget, alert: Alert, packed: unknown): Step {
  const reader = { audience: target.kind.audience, sendResolved: target.settings.send_resolved }
  return stepOf({ alert, seq: Number.MAX_SAFE_INTEGER }, unpackState(packed), reader)
}

const reasons: Record<string, string> = {
  disabled: 'it is disabled',
  unhealthy: 'its health checks fail',
  degraded: 'its health checks are slow or have begun to fail',
  circuit_open: 'its circuit is open after failed attempts',
  paused: 'it asked to be left alone for a while, with Retry-After',
  filtered: 'its filter lets none of the alerts through',
  resolved_not_wanted: 'there is nothing to tell: it does not want resolves, or never had the alert'
}
