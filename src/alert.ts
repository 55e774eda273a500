import Type, { type Static } from 'typebox'

export const AlertStatus = Type.Enum(['firing', 'resolved'])
export type AlertStatus = Static<typeof AlertStatus>

const Severity = Type.Enum(['critical', 'warning', 'info', 'noise'])

const Text = Type.Record(Type.String(), Type.String())

export const Classification = Type.Object(
  {
    severity: Severity,
    confidence: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: 'a number from 0 to 1' })),
    reasoning: Type.Optional(Type.String({ description: 'a text' })),
    recommendations: Type.Optional(Type.Array(Type.String(), { description: 'a list of texts' }))
  },
  { description: 'What an upstream classifier thinks of the alert.' }
)
export type Classification = Static<typeof Classification>

/** One alert as it lives inside the service and in the `webhook` format: complete, with every default filled in. */
export const Alert = Type.Object({
  alert_name: Type.String(),
  fingerprint: Type.String({ description: 'The identity of the alert: a hash of its labels.' }),
  status: AlertStatus,
  labels: Text,
  annotations: Text,
  starts_at: Type.String({ description: 'RFC 3339.' }),
  ends_at: Type.Optional(Type.String({ description: 'RFC 3339; only once resolved.' })),
  generator_url: Type.Optional(Type.String()),
  classification: Type.Optional(Classification),
  enrichment: Type.Optional(Type.Record(Type.String(), Type.Unknown()))
})
export type Alert = Static<typeof Alert>

/** What one POST carries: alerts, and the group they came in. */
export interface Notification {
  readonly receiver: string
  readonly group_key: string
  readonly group_labels: Readonly<Record<string, string>>
  readonly common_labels: Readonly<Record<string, string>>
  readonly common_annotations: Readonly<Record<string, string>>
  readonly external_url: string
  readonly truncated_alerts: number
  readonly alerts: readonly Alert[]
  /** The bytes of an Alertmanager body as they came, for receivers that want just these. */
  readonly body?: Buffer
}

/** `firing` if any alert fires: an Alertmanager's own top-level status lies once alerts were truncated. */
export function statusOf(alerts: readonly Alert[]): AlertStatus {
  return alerts.some(alert => alert.status === 'firing') ? 'firing' : 'resolved'
}

/** The classification's severity, else the `severity` label as it stands, else undefined. */
export function severityOf(alert: Alert): string | undefined {
  return alert.classification?.severity ?? alert.labels.severity
}

/** What all alerts share, as Alertmanager computes common labels and annotations. */
export function commonOf(alerts: readonly Alert[], of: 'labels' | 'annotations'): Record<string, string> {
  const [first, ...rest] = alerts
  return Object.fromEntries(
    Object.entries(first?.[of] ?? {}).filter(([name, value]) => rest.every(alert => alert[of][name] === value))
  )
}

const readable = /^(\d{4})-(\d\d)-(\d\d)[Tt ](?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/
const strict = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/

/** Milliseconds since the epoch, NaN if it is no RFC 3339 time; that lets `t`, `z` and a blank for the T stand. */
export function msOfTime(text: string): number {
  const [time, year, month, day] = readable.exec(text) ?? []
  // Date.parse takes 30 February for 2 March.
  if (time === undefined || Number(day) > new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate())
    return Number.NaN
  return Date.parse(time)
}

/** An RFC 3339 time as every receiver reads it, Go among them; undefined if it is none, or written in another way. */
export function timeAsRead(text: string): string | undefined {
  return strict.test(text) && !Number.isNaN(msOfTime(text)) ? text.toUpperCase() : undefined
}
