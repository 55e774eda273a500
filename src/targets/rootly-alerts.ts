import type { Address } from './address.js'
import type { Message, OpenTarget, WireRequest } from './contract.js'
import { beginning, end } from './incident.js'
import type { RootlySettings } from './rootly.js'
import { resolutionOf, statusIn, subjectOf } from './rootly-text.js'
import { document, rootlyHeaders as headers, judge, seenIn } from './rootly-wire.js'

/**
 * Alerts as Rootly alerts (docs.rootly.com/api-reference/alerts): those with one `deduplication_key` are one alert, so
 * sending a firing one again is harmless. Remembered per lane: `id`, which closing it needs.
 */
export function alertsApi(settings: RootlySettings, { origin, under }: Address): OpenTarget {
  const isFiring = (message: Message) => statusIn(message, settings.per) === 'firing'
  const post = (message: Message): WireRequest => {
    const { title, summary, labels, url, key } = subjectOf(message, settings.per)
    const firing = isFiring(message)
    const attributes = {
      source: 'alertmanager',
      summary: title,
      description: summary,
      started_at: beginning(message.alerts),
      ended_at: firing ? undefined : end(message.alerts),
      external_url: url,
      deduplication_key: key,
      labels: Object.entries(labels).map(([name, value]) => ({ key: name, value })),
      service_ids: settings.service_ids,
      environment_ids: settings.environment_ids,
      group_ids: settings.group_ids,
      // What is over pages nobody, should Rootly not know the alert any more.
      notification_target_type: firing ? settings.notification_target_type : undefined,
      notification_target_id: firing ? settings.notification_target_id : undefined
    }
    return { method: 'POST', origin, path: under('/v1/alerts'), headers, body: document('alerts', attributes) }
  }
  const resolve = (message: Message, id: string): WireRequest => ({
    method: 'POST',
    origin,
    path: under(`/v1/alerts/${encodeURIComponent(id)}/resolve`),
    headers,
    body: document('alerts', { resolution_message: resolutionOf(message) })
  })

  return {
    origins: [origin],
    requests(message) {
      const { id } = message.memory
      return [isFiring(message) || id === undefined ? post(message) : resolve(message, id)]
    },

    answer(answer, message, request) {
      const verdict = judge(answer, message)
      if (/\/resolve(\?|$)/.test(request.path)) {
        const gone = answer.statusCode === 404 || answer.statusCode === 409
        return verdict.kind === 'delivered' || gone ? { kind: 'delivered', memory: {} } : verdict
      }
      if (verdict.kind !== 'delivered') return verdict
      const [seen] = seenIn(answer)
      if (isFiring(message)) return { ...verdict, memory: seen ? { id: seen.id } : {} }
      // The id was lost: posting the ended alert again told it, by the deduplication key.
      return seen ? { kind: 'instead', requests: [resolve(message, seen.id)], memory: { id: seen.id } } : verdict
    }
  }
}
