import { severityOf } from '../alert.js'
import type { Entry } from '../pipeline/entry.js'
import { cut } from '../targets/text.js'
import { type Html, html } from './html.js'
import { severityOfEntry } from './waiting.js'

/** Something that a person can do, as the page's script reads it. */
export interface Action {
  /** What the script says about the answer: one of its own words. */
  readonly does: 'test' | 'check' | 'reset' | 'replay' | 'discard'
  readonly label: string
  /** Tells it from all other buttons of the page that do the same. */
  readonly key: string
  /** Told to screen readers only: which of the many such buttons this is. */
  readonly which: string
  readonly path: string
  readonly body?: object
  /** Asked before it is done. */
  readonly confirm?: string
}

/** A button that needs the page's script; without it the button is not shown. */
export function button({ does, key, label, which, path, body, confirm }: Action): Html {
  return html`<button type="button" id="${does}-${key}" data-does="${does}" data-path="${path}"${
    body ? html` data-body="${JSON.stringify(body)}"` : ''
  }${confirm ? html` data-confirm="${confirm}"` : ''}>${label}<span class="unseen"> ${which}</span></button>`
}

/** A moment as the words that people want, with the exact time behind them. */
export function moment(at: number, words: string): Html {
  const exact = new Date(at).toISOString()
  return html`<time datetime="${exact}" title="${exact}">${words}</time>`
}

/** Characters of a name and of a summary that are shown: an alert can carry megabytes. */
const mostName = 100
const mostSummary = 300

/** The name of an alert, which can be any text in any direction of writing. */
export function alertName(name: string): Html {
  return html`<bdi class="name">${cut(name, mostName)}</bdi>`
}

/** The alerts of an entry: name and severity of the first, what it says, how many more, and where to look. */
export function alertsOf(entry: Pick<Entry, 'alerts' | 'group'>): Html {
  const first = entry.alerts.find(({ alert }) => severityOf(alert) === severityOfEntry(entry))?.alert
  if (!first) return html``
  const { annotations } = first
  const more = entry.alerts.length - 1
  const links = [
    link('Runbook', annotations.runbook_url),
    link('Dashboard', annotations.dashboard_url),
    link('Source', first.generator_url)
  ]
  return html`${alertName(first.alert_name)} ${severity(severityOfEntry(entry))} ${
    first.status === 'resolved' && html`<span class="tag">resolved</span> `
  }${more > 0 && html`<span class="soft">and ${more} more</span>`}
${annotations.summary && html`<bdi class="says">${cut(annotations.summary, mostSummary)}</bdi>`}
${links.some(Boolean) && html`<span class="links">${links}</span>`}`
}

export function severity(name: string | undefined): Html | undefined {
  return name ? html`<bdi class="tag">${name.slice(0, 20)}</bdi>` : undefined
}

/** Alerts carry any URL: only those that a browser opens as a page become links. */
function link(label: string, url: string | undefined): Html | undefined {
  if (url === undefined || !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) return undefined
  return html`<a href="${url}" rel="noopener noreferrer" target="_blank">${label}<span class="unseen"> of the alert, in a new tab</span></a> `
}

/** A table whose cells are told by their column's name where it is too narrow for columns. */
export function table(caption: string, columns: readonly string[], rows: readonly Html[]): Html {
  return html`<table role="table"><caption class="unseen">${caption}</caption>
<thead role="rowgroup"><tr role="row">${columns.map(name => html`<th role="columnheader" scope="col">${name}</th>`)}</tr></thead>
<tbody role="rowgroup">${rows}</tbody></table>`
}

/** A row by its key; `cells` in the order of the columns, the first is the row's header. */
export function row(key: string, columns: readonly string[], cells: readonly (Html | false)[]): Html {
  return html`<tr role="row" id="${key}">${cells.map((cell, index) =>
    index === 0
      ? html`<th role="rowheader" scope="row">${cell}</th>`
      : html`<td role="cell" data-column="${columns[index]}"><div>${cell}</div></td>`
  )}</tr>`
}
