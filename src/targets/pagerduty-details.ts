import type { Alert } from '../alert.js'
import type { Message } from './contract.js'
import { time } from './incident.js'
import { cut, json } from './text.js'

/** PagerDuty takes events of up to 512 KB ("Events API v2 Overview", size limits). */
export const eventBytes = 512_000

/** How much an event may hold: code points of each annotation and label value (0: none at all), and alerts listed. */
export interface Room {
  readonly annotation: number
  readonly label: number
  readonly alerts: number
  /** Notes that a field lost something. */
  cut(field: string): void
}

const rooms = [
  { annotation: 65_536, label: 65_536, alerts: 100 },
  { annotation: 4096, label: 65_536, alerts: 100 },
  { annotation: 256, label: 65_536, alerts: 100 },
  { annotation: 0, label: 1024, alerts: 100 },
  { annotation: 0, label: 128, alerts: 50 },
  { annotation: 0, label: 0, alerts: 50 }
]

/** The event as JSON within the limit: annotations and enrichment go first, then labels, then listed alerts. */
export function fit(message: Message, event: (room: Room) => object): string {
  let body = ''
  let lost = new Set<string>()
  for (const room of rooms) {
    const lostHere = new Set<string>()
    body = json(event({ ...room, cut: field => lostHere.add(field) }))
    lost = lostHere
    if (Buffer.byteLength(body) <= eventBytes) break
  }
  for (const field of lost) message.truncated(field)
  return body
}

/** All that is known of an alert, for `custom_details`. */
export function detailsOf(alert: Alert, room: Room): object {
  const { classification } = alert
  return {
    status: alert.status,
    fingerprint: cut(alert.fingerprint, 255, () => room.cut('fingerprint')),
    starts_at: time(alert.starts_at),
    ends_at: time(alert.ends_at),
    labels: texts(alert.labels, room.label, () => room.cut('labels')),
    annotations: texts(alert.annotations, room.annotation, () => room.cut('annotations')),
    classification: classification && {
      severity: classification.severity,
      confidence: classification.confidence,
      reasoning: text(classification.reasoning, room.annotation, () => room.cut('classification')),
      recommendations: classification.recommendations?.flatMap(
        advice => text(advice, room.annotation, () => room.cut('classification')) ?? []
      )
    },
    enrichment: enrichmentOf(alert, room)
  }
}

function enrichmentOf({ enrichment }: Alert, room: Room): object | undefined {
  if (!enrichment) return undefined
  // A free object cannot be cut in a way that leaves it readable: it stays whole or goes.
  if (room.annotation < 65_536) {
    room.cut('enrichment')
    return undefined
  }
  return enrichment
}

function texts(all: Readonly<Record<string, string>>, max: number, onCut: () => void): object | undefined {
  const entries = Object.entries(all)
  if (entries.length === 0) return undefined
  if (max === 0) {
    onCut()
    return undefined
  }
  return Object.fromEntries(entries.map(([name, value]) => [name, cut(value, max, onCut)]))
}

function text(value: string | undefined, max: number, onCut: () => void): string | undefined {
  if (!value) return undefined
  if (max === 0) {
    onCut()
    return undefined
  }
  return cut(value, max, onCut)
}
