import { type Alert, severityOf } from '../alert.js'
import type { Message } from './contract.js'
import { groupStatusOf, linksOf, webUrl } from './incident.js'
import { gravest, gravityOf } from './severity.js'
import { cut, json, lateness } from './text.js'

// Slack's limits, https://docs.slack.dev/reference/block-kit: 50 blocks, 150 characters a header, 3,000 a text.
// chat.update takes 4,000 characters of `text`. Over all blocks about 12,000 are taken (slackapi/bolt-js issue 2509).
const headerChars = 150
const sectionChars = 2_900
const allSectionsChars = 9_000
const textChars = 3_000
const originChars = 2_000
const mostAlerts = 10

const colours = new Map([
  ['critical', '#FF0000'],
  ['warning', '#FFA500'],
  ['info', '#36A64F'],
  ['noise', '#808080'],
  ['none', '#808080']
])
const resolvedColour = '#36A64F'
const unknownColour = '#FFA500'

const shownElsewhere = new Set(['summary', 'description', 'message', 'runbook_url', 'dashboard_url'])

/** A notification as one Slack message: `text` for notifications and screen readers, blocks for everyone else. */
export function slackMessage(message: Message) {
  const shown = [...message.alerts].sort((a, b) => urgency(b) - urgency(a)).slice(0, mostAlerts)
  const room = Math.min(sectionChars, Math.floor(allSectionsChars / shown.length))
  const title = titleOf(message)
  const summary = summaryOf(shown[0]!)
  return {
    text: escaped(summary ? `${title}: ${summary}` : title, textChars, () => message.truncated('text')),
    blocks: [
      {
        type: 'header',
        text: { type: 'plain_text', text: escaped(title, headerChars, () => message.truncated('header')), emoji: true }
      }
    ],
    attachments: [
      {
        color: colourOf(message),
        blocks: [
          ...context(notesOf(message)),
          ...shown.map(alert => ({ type: 'section', text: mrkdwn(alertText(alert, room, message)) })),
          ...context([...moreOf(message, shown.length), ...originOf(message)])
        ]
      }
    ],
    unfurl_links: false,
    unfurl_media: false
  }
}

/** Text that Slack shows as it is, at most `max` code points long once escaped: no mention, no link, no broken entity. */
export function escaped(text: string, max: number, onCut?: () => void): string {
  let wasCut = false
  const note = () => {
    wasCut = true
  }
  // Escaping only makes longer: cutting first spares escaping a megabyte.
  const safe = cut(text, max, note).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  const fitting = cut(safe, max, note).replace(/&(?:a|am|amp|l|lt|g|gt)?…$/, '…')
  if (wasCut) onCut?.()
  return fitting
}

/** `verbatim` keeps Slack from turning `@here` or `#channel` in an alert into a mention. */
const mrkdwn = (text: string) => ({ type: 'mrkdwn', text, verbatim: true })

function context(lines: string[]) {
  return lines.length === 0 ? [] : [{ type: 'context', elements: lines.map(mrkdwn) }]
}

function urgency(alert: Alert): number {
  return alert.status === 'firing' ? 10 + gravityOf(alert) : gravityOf(alert)
}

function colourOf(message: Message): string {
  if (groupStatusOf(message) === 'resolved') return resolvedColour
  return colours.get(gravest(message.alerts) ?? '') ?? unknownColour
}

/** `[FIRING:2, RESOLVED:1] NodeCPUHigh prod`. */
function titleOf(message: Message): string {
  const { alerts, notification } = message
  const left = notification.truncated_alerts
  const firing = alerts.filter(alert => alert.status === 'firing').length
  const resolved = message.firedAndResolved ? 'FIRED AND RESOLVED' : `RESOLVED:${alerts.length - firing}`
  const state = [
    ...(firing > 0 ? [`FIRING:${firing}`] : []),
    ...(firing < alerts.length ? [resolved] : []),
    // Else nobody would see that it may not be over.
    ...(firing === 0 && left > 0 ? [`NOT LISTED:${left}`] : [])
  ].join(', ')
  const names = [...new Set(alerts.map(nameOf))].slice(0, mostAlerts).join(', ')
  const group = Object.entries(notification.group_labels).flatMap(([name, value]) =>
    name === 'alertname' ? [] : [value]
  )
  return oneLine(`[${state}] ${[names, ...group].join(' ')}`)
}

function nameOf(alert: Alert): string {
  return oneLine(alert.alert_name) || 'Alert without a name'
}

function summaryOf({ annotations }: Alert): string {
  return annotations.summary || annotations.description || annotations.message || ''
}

function notesOf(message: Message): string[] {
  const late = lateness(message.lateByMs)
  return [
    ...(message.firedAndResolved ? ['fired and resolved before this message could be sent'] : []),
    ...(late === undefined ? [] : [late])
  ]
}

function moreOf({ alerts, notification }: Message, shown: number): string[] {
  const more = alerts.length - shown
  return [
    ...(more > 0 ? [`+${more} more`] : []),
    ...(notification.truncated_alerts > 0 ? [`+${notification.truncated_alerts} left out by Alertmanager`] : [])
  ]
}

function originOf({ notification, truncated }: Message): string[] {
  const link = linkTo(
    `${notification.external_url}/#/alerts?receiver=${encodeURIComponent(wellFormed(notification.receiver))}`,
    'Alertmanager'
  )
  const receiver =
    notification.receiver && `receiver ${escaped(notification.receiver, 100, () => truncated('receiver'))}`
  // Only now is its length known: encoding makes nine characters of one.
  if (link.length <= originChars) return [link, receiver].filter(Boolean)
  truncated('links')
  return [receiver].filter(Boolean)
}

/**
 * One alert in at most `max` code points. Name and links come first; of what they leave, labels, classification and
 * enrichment take at most half each, and the annotations the rest: they are the first to be cut.
 */
function alertText(alert: Alert, max: number, message: Message): string {
  let room = max
  const take = (field: string, text: string, most: number): string => {
    const limit = Math.floor(Math.min(most, room - 1))
    if (text === '') return ''
    if (limit < 2) {
      message.truncated(field)
      return ''
    }
    const taken = escaped(text, limit, () => message.truncated(field))
    room -= taken.length + 1
    return taken
  }
  const state =
    alert.status === 'firing' ? `firing since ${timeOf(alert.starts_at)}` : `resolved ${timeOf(alert.ends_at ?? '')}`
  const severity = take('severity', oneLine(severityOf(alert) ?? ''), 50)
  const name = take('alert_name', nameOf(alert), 200)
  const title = [`*${name}*`, severity, state].filter(Boolean).join(' · ')
  room -= state.length + 10

  const links: string[] = []
  for (const { href, text } of linksOf(alert.annotations, alert.generator_url, message.truncated)) {
    const link = linkTo(href, text)
    if (link.length < room / 2) {
      links.push(link)
      room -= link.length + 3
    } else message.truncated('links')
  }
  const labels = Object.entries(alert.labels).filter(([label]) => label !== 'alertname')
  const labelText = take('labels', labels.map(([label, value]) => codeOf(`${label}=${value}`)).join(' '), room / 2)
  const classified = take('classification', classificationText(alert), room / 2)
  const enriched = take('enrichment', alert.enrichment ? codeOf(json(alert.enrichment)) : '', room / 2)
  const annotations = take('annotations', annotationText(alert), room)
  return [title, annotations, closed(labelText), classified, closed(enriched), links.join(' · ')]
    .filter(Boolean)
    .join('\n')
}

function annotationText({ annotations }: Alert): string {
  const told = [annotations.summary, annotations.description, annotations.message].filter(Boolean)
  const others = Object.entries(annotations).filter(([name]) => !shownElsewhere.has(name) && !name.startsWith('__'))
  return [...new Set(told), ...others.map(([name, value]) => `${name}: ${value}`)].join('\n')
}

function classificationText({ classification }: Alert): string {
  if (!classification) return ''
  const confidence = classification.confidence === undefined ? '' : `, confidence ${classification.confidence}`
  const reasoning = classification.reasoning ? `: ${classification.reasoning}` : ''
  const recommendations = (classification.recommendations ?? []).map(recommendation => `\n• ${recommendation}`)
  return `Classified ${classification.severity}${confidence}${reasoning}${recommendations.join('')}`
}

/** Empty for what is no web link. */
function linkTo(url: string, label: string): string {
  if (!webUrl(url)) return ''
  return `<${new URL(url).href.replaceAll('&', '&amp;').replaceAll('<', '%3C').replaceAll('>', '%3E').replaceAll('|', '%7C')}|${label}>`
}

/** A time that each reader sees in their own zone. */
function timeOf(time: string): string {
  const ms = Date.parse(time)
  if (Number.isNaN(ms)) return escaped(time, 40)
  return `<!date^${Math.floor(ms / 1000)}^{date_short_pretty} {time_secs}|${new Date(ms).toISOString()}>`
}

function codeOf(text: string): string {
  return `\`${oneLine(text).replaceAll('`', "'")}\``
}

/** Ends the code span that a cut left open. */
function closed(text: string): string {
  return text.endsWith('…') && text.split('`').length % 2 === 0 ? `${text}\`` : text
}

/** Cuts first, to more than any limit: a megabyte of blanks is not worth the work. */
function oneLine(text: string): string {
  return cut(text, 10_000).replace(/\s+/g, ' ').trim()
}

/** `encodeURIComponent` throws on lone surrogates. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString()
}
