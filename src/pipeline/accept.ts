import Type, { type Static } from 'typebox'
import { Alert, type AlertStatus, Classification, commonOf, msOfTime, type Notification, timeAsRead } from '../alert.js'
import { fingerprintOf } from '../fingerprint.js'
import { type Problem, type Reading, reader } from '../schema.js'
import { optionsFromBody, type PublishOptions } from './options.js'
import { turn } from './turn.js'

const oneHourMs = 3_600_000
/** In UTF-16 units. Alertmanager's have 16. */
const longestFingerprint = 256

/** No target has a longer name, and what is not found is repeated in the answer. */
const longestName = 253

const TextMap = (description: string) => Type.Record(Type.String(), Type.String(), { description })

/** One alert as a caller writes it. */
export const AlertInput = Type.Object(
  {
    alert_name: Type.Optional(
      Type.String({ minLength: 1, description: 'Default: labels.alertname; one of the two is required.' })
    ),
    fingerprint: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: longestFingerprint,
        description: 'Default: what Alertmanager computes from the labels.'
      })
    ),
    status: Alert.properties.status,
    labels: Type.Optional(TextMap('a map of names to texts')),
    annotations: Type.Optional(TextMap('a map of names to texts')),
    starts_at: Type.Optional(Type.String({ description: 'RFC 3339; default: now. Not more than 1 h ahead.' })),
    ends_at: Type.Optional(Type.String({ description: 'RFC 3339; not before starts_at.' })),
    generator_url: Type.Optional(Type.String({ description: 'A URL.' })),
    classification: Type.Optional(Classification),
    enrichment: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'an object of any content' }))
  },
  { description: 'One alert.' }
)
export type AlertInput = Static<typeof AlertInput>

/** What stands beside the alerts in a body that is not Alertmanager's own; `null` counts as absent. */
export const Envelope = Type.Object({
  receiver: Type.Optional(Type.String({ description: 'A text: the receiver of the group, as Alertmanager names it.' })),
  group_key: Type.Optional(
    Type.String({ description: 'A text: what the group is known by over time. Default: its alerts’ fingerprints.' })
  ),
  group_labels: Type.Optional(TextMap('A map of names to texts: labels that all of the group have, for titles.')),
  external_url: Type.Optional(Type.String({ description: 'A text: where the sender can be looked at.' })),
  target_names: Type.Optional(
    Type.Array(Type.String({ maxLength: longestName }), {
      maxItems: 10_000,
      description: 'A list of names. Required on the named route; narrows the others. Never empty.'
    })
  )
})

/** A body that was understood: the notification, and what it asks for besides. */
export interface Accepted {
  readonly notification: Notification
  /** Whether it came as Alertmanager's own webhook body: then it is answered within ACK_TIMEOUT. */
  readonly source: 'alertmanager' | 'api'
  readonly targetNames?: readonly string[]
  readonly options: PublishOptions
  /** Alerts with values that an Alertmanager would not send: delivered nonetheless. */
  readonly oddAlerts: number
  /** Alertmanager ≥ 0.32 says that it notifies because the repeat interval elapsed. */
  readonly reminder: boolean
  /** The time that alerts got which came without one, RFC 3339; absent if all had their own. */
  readonly stamp?: string
}

/** The notification as it was when its body came first, at `firstAt`: what came without a time got that one. */
export function stampedAt({ notification, stamp }: Accepted, firstAt: number | undefined): Notification {
  if (stamp === undefined || firstAt === undefined) return notification
  const first = new Date(firstAt).toISOString()
  const alerts = notification.alerts.map(alert => ({
    ...alert,
    starts_at: alert.starts_at === stamp ? first : alert.starts_at,
    ...(alert.ends_at === stamp ? { ends_at: first } : {})
  }))
  return { ...notification, alerts }
}

type Raw = Record<string, unknown>

/** Alerts that are read before others get the event loop. */
const readAtOnce = 250

/** A body whose alerts are being read. */
interface Read {
  readonly body: Raw
  readonly list: readonly unknown[]
  readonly now: number
  readonly alerts: Alert[]
  readonly problems: Problem[]
  /** How many of the list have been read. */
  count: number
  oddAlerts: number
}

/**
 * Understands a body of any of the three shapes, told apart by their keys. `bytes` is the body as it came, `now` in
 * milliseconds since the epoch. All problems are reported at once; none of them carries a value.
 */
export function accept(body: unknown, bytes: Buffer, now: number): Reading<Accepted> {
  const read = begin(body, now)
  if ('ok' in read) return read
  readOn(read, read.list.length)
  return whole(read, bytes)
}

/** The same for a body that may be large: others get the event loop in between. */
export async function acceptInTurns(body: unknown, bytes: Buffer, now: number): Promise<Reading<Accepted>> {
  const read = begin(body, now)
  if ('ok' in read) return read
  while (readOn(read, readAtOnce)) await turn()
  return whole(read, bytes)
}

function begin(body: unknown, now: number): Read | Refusal {
  if (!isObject(body))
    return refuse('body', 'is not a JSON object', 'send an Alertmanager webhook, {"alert": {…}} or {"alerts": […]}')
  const { alert, alerts, version } = body
  const one = alert !== undefined && (version === undefined || alerts === undefined)
  if (one && alerts !== undefined) return refuse('alert', 'stands beside alerts', 'send one of the two')
  if (!one && !Array.isArray(alerts)) return refuse('alerts', 'is not a list', 'send "alert": {…} or "alerts": […]')
  const list = one ? [alert] : (alerts as unknown[])
  if (list.length === 0) return refuse('alerts', 'is empty', 'send at least one alert')
  if (!isAlertmanagers(body) && isDeeper({ ...body, alert: undefined, alerts: undefined }, maxDepth))
    return { ok: false, problems: [tooDeep('body')] }
  return { body, list, now, alerts: [], problems: [], count: 0, oddAlerts: 0 }
}

/** Alertmanager's own bodies say their version, beside a list of alerts. */
const isAlertmanagers = ({ version, alerts }: Raw): boolean => version !== undefined && alerts !== undefined

/** Reads so many more of the alerts; false if that was all, or all whose problems are told. */
function readOn(read: Read, many: number): boolean {
  const { body, list, problems } = read
  const readNext = isAlertmanagers(body) ? readAlertmanagers : readOwn
  const end = Math.min(read.count + many, list.length)
  while (read.count < end && problems.length < maxProblems) readNext(read, list[read.count++])
  return read.count < list.length && problems.length < maxProblems
}

function whole(read: Read, bytes: Buffer): Reading<Accepted> {
  return isAlertmanagers(read.body) ? wholeAlertmanagers(read, bytes) : wholeOwn(read)
}

function readAlertmanagers(read: Read, raw: unknown): void {
  const status = isObject(raw) ? raw.status : undefined
  if (!isObject(raw))
    read.problems.push({
      field: lastRead(read),
      message: 'is not an object',
      suggestion: 'send alerts as Alertmanager does'
    })
  else if (status !== 'firing' && status !== 'resolved') read.problems.push(badStatus(`${lastRead(read)}.status`))
  else read.alerts.push(alertmanagersAlert(read, raw, status))
}

const lastRead = ({ count }: Read): string => `alerts[${count - 1}]`

function wholeAlertmanagers({ body, alerts, problems, oddAlerts }: Read, bytes: Buffer): Reading<Accepted> {
  if (problems.length > 0) return { ok: false, problems }
  return {
    ok: true,
    value: {
      source: 'alertmanager',
      options: {},
      oddAlerts,
      reminder: /repeat interval/i.test(text(body.notification_reason) || text(body.notificationReason)),
      notification: {
        receiver: text(body.receiver).replace(/\\([\\.+*?()|[\]{}^$])/g, '$1'),
        group_key: text(body.groupKey),
        group_labels: textMap(body.groupLabels),
        common_labels: textMap(body.commonLabels),
        common_annotations: textMap(body.commonAnnotations),
        external_url: text(body.externalURL),
        truncated_alerts: typeof body.truncatedAlerts === 'number' ? body.truncatedAlerts : 0,
        alerts,
        body: bytes
      }
    }
  }
}

function alertmanagersAlert(read: Read, raw: Raw, status: AlertStatus): Alert {
  const labels = textMap(raw.labels)
  const startsAt = text(raw.startsAt)
  const endsAt = text(raw.endsAt)
  if (
    !isTextMap(raw.labels) ||
    !isTextMap(raw.annotations) ||
    !labels.alertname ||
    Number.isNaN(Date.parse(startsAt)) ||
    (raw.endsAt !== undefined && Number.isNaN(Date.parse(endsAt))) ||
    isNoText(raw.generatorURL) ||
    (raw.fingerprint !== undefined && !isFingerprint(raw.fingerprint))
  )
    read.oddAlerts++
  const alert: Alert = {
    alert_name: labels.alertname ?? '',
    fingerprint: isFingerprint(raw.fingerprint) ? raw.fingerprint : fingerprintOf(labels),
    status,
    labels,
    annotations: textMap(raw.annotations),
    starts_at: startsAt || new Date(read.now).toISOString()
  }
  // Alertmanager writes the zero time for an alert that has not ended.
  if (endsAt !== '' && !endsAt.startsWith('0001-01-01')) alert.ends_at = endsAt
  const generatorUrl = text(raw.generatorURL)
  if (generatorUrl !== '') alert.generator_url = generatorUrl
  return alert
}

const readAlert = reader(AlertInput)
const readEnvelope = reader(Envelope)
/** So that a body of 20,000 bad alerts gets an answer that a person can read. */
const maxProblems = 20
/** What is nested deeper could not be written again without running out of stack. */
const maxDepth = 64

function readOwn(read: Read, raw: unknown): void {
  const field = read.body.alerts === undefined ? 'alert' : lastRead(read)
  if (isDeeper(raw, maxDepth)) {
    read.problems.push(tooDeep(field))
    return
  }
  const reading = readAlert(raw, field)
  const found = [...(reading.ok ? [] : reading.problems), ...ruleProblems(raw, field, read.now)]
  if (found.length > 0) read.problems.push(...distinct(found))
  else if (reading.ok) read.alerts.push(complete(reading.value, read.now))
}

function wholeOwn({ body, now, alerts, problems }: Read): Reading<Accepted> {
  const options = optionsFromBody(body.options)
  if (!options.ok) problems.push(...options.problems)
  const envelope = readEnvelope(besides(body))
  if (!envelope.ok) problems.push(...envelope.problems)
  if (problems.length > 0 || !options.ok || !envelope.ok) return { ok: false, problems: problems.slice(0, maxProblems) }
  const { receiver = '', group_key = '', group_labels = {}, external_url = '', target_names } = envelope.value
  const stamp = new Date(now).toISOString()
  return {
    ok: true,
    value: {
      source: 'api',
      options: options.value,
      oddAlerts: 0,
      reminder: false,
      ...(alerts.some(alert => alert.starts_at === stamp || alert.ends_at === stamp) ? { stamp } : {}),
      ...(target_names ? { targetNames: target_names } : {}),
      notification: {
        receiver,
        group_key,
        group_labels,
        common_labels: commonOf(alerts, 'labels'),
        common_annotations: commonOf(alerts, 'annotations'),
        external_url,
        truncated_alerts: 0,
        alerts
      }
    }
  }
}

/** Only what is known: a body may have any number of other fields, which are passed over. */
function besides(body: Raw): Raw {
  const given = Object.keys(Envelope.properties).filter(name => body[name] !== undefined && body[name] !== null)
  return Object.fromEntries(given.map(name => [name, body[name]]))
}

/** The rules that a schema cannot say: they hold over several fields, or over time. */
function ruleProblems(raw: unknown, field: string, now: number): Problem[] {
  if (!isObject(raw)) return []
  const problems: Problem[] = []
  const labels = isObject(raw.labels) ? raw.labels : {}
  if (raw.alert_name === undefined && (typeof labels.alertname !== 'string' || labels.alertname === '')) {
    problems.push({
      field: `${field}.alert_name`,
      message: 'is required',
      suggestion: 'send alert_name, or an alertname label'
    })
  }
  if (raw.status === undefined || (raw.status !== 'firing' && raw.status !== 'resolved'))
    problems.push(badStatus(`${field}.status`))
  const startsAt = msOf(raw.starts_at)
  const endsAt = msOf(raw.ends_at)
  if (Number.isNaN(startsAt)) problems.push(badTime(`${field}.starts_at`))
  if (Number.isNaN(endsAt)) problems.push(badTime(`${field}.ends_at`))
  if (endsAt !== undefined && endsAt < (startsAt ?? now)) {
    problems.push({
      field: `${field}.ends_at`,
      message: 'is before starts_at',
      suggestion:
        startsAt === undefined
          ? 'send starts_at as well: it is now by default'
          : 'send the time at which the alert ended'
    })
  }
  if (startsAt !== undefined && startsAt > now + oneHourMs) {
    problems.push({
      field: `${field}.starts_at`,
      message: 'is more than 1 h ahead',
      suggestion: 'check the clock, and that the time has its zone'
    })
  }
  if (typeof raw.generator_url === 'string' && raw.generator_url !== '' && !URL.canParse(raw.generator_url)) {
    problems.push({
      field: `${field}.generator_url`,
      message: 'is not a URL',
      suggestion: 'write it as https://host/path'
    })
  }
  return problems
}

function complete(input: AlertInput, now: number): Alert {
  const { alert_name, fingerprint, status, starts_at, ends_at, generator_url, classification, enrichment } = input
  // The name is the one label that an alert must have: filters look for it there, and Alertmanagers tell alerts apart by it.
  const labels = input.labels?.alertname ? input.labels : { ...input.labels, alertname: alert_name! }
  return {
    alert_name: alert_name ?? labels.alertname!,
    fingerprint: fingerprint ?? fingerprintOf(labels),
    status,
    labels,
    annotations: input.annotations ?? {},
    starts_at: starts_at === undefined ? new Date(now).toISOString() : readable(starts_at),
    ...(ends_at !== undefined
      ? { ends_at: readable(ends_at) }
      : status === 'resolved'
        ? { ends_at: new Date(now).toISOString() }
        : {}),
    ...(generator_url ? { generator_url } : {}),
    ...(classification ? { classification } : {}),
    ...(enrichment ? { enrichment } : {})
  }
}

/** Milliseconds since the epoch; undefined if absent, NaN if it is no RFC 3339 time. */
function msOf(raw: unknown): number | undefined {
  return raw === undefined ? undefined : typeof raw === 'string' ? msOfTime(raw) : Number.NaN
}

/** A time that was found to be one, as every receiver reads it. */
const readable = (time: string): string => timeAsRead(time) ?? new Date(msOfTime(time)).toISOString()

const tooDeep = (field: string): Problem => ({
  field,
  message: 'is nested too deeply',
  suggestion: `use at most ${maxDepth} levels`
})
const badStatus = (field: string): Problem => ({
  field,
  message: 'is not an alert status',
  suggestion: 'use firing or resolved'
})
const badTime = (field: string): Problem => ({
  field,
  message: 'is not an RFC 3339 time',
  suggestion: 'write it as 2026-11-20T18:17:30Z'
})

/** The first problem of each field: a rule says it better than the schema's own words, and comes later. */
function distinct(problems: Problem[]): Problem[] {
  return [...new Map(problems.map(problem => [problem.field, problem])).values()]
}

type Refusal = Extract<Reading<never>, { ok: false }>

function refuse(field: string, message: string, suggestion: string): Refusal {
  return { ok: false, problems: [{ field, message, suggestion }] }
}

function isObject(value: unknown): value is Raw {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

function isTextMap(value: unknown): value is Record<string, string> {
  if (!isObject(value)) return false
  for (const name in value) if (typeof value[name] !== 'string') return false
  return true
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** A map of texts; what is none is turned into text, so that nothing an odd sender says is lost. */
function textMap(value: unknown): Record<string, string> {
  if (isTextMap(value)) return value
  if (!isObject(value)) return {}
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [
      name,
      typeof item === 'string' ? item : isDeeper(item, maxDepth) ? '…' : JSON.stringify(item)
    ])
  )
}

function isFingerprint(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= longestFingerprint
}

function isNoText(value: unknown): boolean {
  return value !== undefined && typeof value !== 'string'
}

/** Whether objects and lists are nested in each other more than so many times. */
function isDeeper(value: unknown, levels: number): boolean {
  if (value === null || typeof value !== 'object') return false
  if (levels === 0) return true
  // Lists may have millions of items, whose numbers as names would cost most of it.
  if (Array.isArray(value)) return value.some(item => isDeeper(item, levels - 1))
  for (const name in value) if (isDeeper((value as Raw)[name], levels - 1)) return true
  return false
}
