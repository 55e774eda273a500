import type { DeadLetter } from '../pipeline/entry.js'
import { adviceOn } from './advice.js'
import { nextWords } from './headline.js'
import { type Html, html } from './html.js'
import type { LetterGroup } from './letters.js'
import { type Mark, markOf } from './marks.js'
import { alertName, alertsOf, button, moment, row, table } from './parts.js'
import type { Outcome, PublishSummary } from './publishes.js'
import type { PageState } from './state.js'
import { ago, counted, sentence, span, took } from './words.js'

const owedColumns = ['Alert', 'To', 'Owed for', 'Why', 'Next']
/** Entries that are shown in all. */
const mostEntries = 30

/** What waits, with its reason and its next try. Nothing at all while nothing does. */
export function owedSection({ waiting, now }: PageState): Html | false {
  if (waiting.length === 0) return false
  const rows = waiting.flatMap(each => each.entries.map(entry => ({ entry, each }))).slice(0, mostEntries)
  const total = waiting.reduce((sum, { count }) => sum + count, 0)
  return html`<section id="owed" aria-labelledby="owed-title">
<h2 id="owed-title" tabindex="-1">Owed <span class="soft">${total.toLocaleString('en')}</span></h2>
<p class="lead">Kept durably and tried again by themselves: no hand is needed unless the cause needs one.</p>
${table(
  'What is owed',
  owedColumns,
  rows.map(({ entry, each }) =>
    row(`owed-${entry.id}`, owedColumns, [
      alertsOf(entry),
      html`<span class="name">${entry.target}</span>`,
      moment(entry.accepted_at, span(now - entry.accepted_at)),
      html`${entry.failure?.message ?? sentence(each.held)}<span class="soft says">${entry.tries === 0 ? 'not tried yet' : `${counted(entry.tries, 'try', 'tries')} so far`}</span>`,
      html`${nextWords(each.next.kind === 'at' ? { kind: 'at', at: Math.max(each.next.at, entry.due_at) } : each.next, now)}`
    ])
  )
)}
${total > rows.length && html`<p class="soft">and ${(total - rows.length).toLocaleString('en')} more: GET /api/v1/queue</p>`}
</section>`
}

/** A count that is older says so. */
const staleMs = 5_000

/** What was given up, by target and cause, with what can be done. */
export function givenUpSection({ letters, now }: PageState, mayAct: boolean): Html | false {
  const { groups, countedAt } = letters
  if (groups.length === 0) return false
  const count = groups.reduce((sum, group) => sum + group.count, 0)
  return html`<section id="given-up" aria-labelledby="given-up-title">
<h2 id="given-up-title" tabindex="-1">Given up <span class="soft">${count.toLocaleString('en')}</span></h2>
<p class="lead">Dead letters: nobody tries these again unless they are replayed.${now - countedAt > staleMs && ` Counted ${ago(countedAt, now)}.`}</p>
${groups.map(group => groupOf(group, now, mayAct))}
</section>`
}

function groupOf(group: LetterGroup, now: number, mayAct: boolean): Html {
  const { target, reason, message, count, newestAt, letters } = group
  const key = `group-${target}-${reason}`
  return html`<article class="group" id="${key}" aria-labelledby="${key}-title">
<h3 id="${key}-title">${markOf('lost')} <span class="name">${target}</span>: ${message}</h3>
<p>${counted(count, 'dead letter')}, last ${moment(newestAt, ago(newestAt, now))}. ${adviceOn(reason)?.advice}</p>
${
  mayAct &&
  count > 1 &&
  html`<p class="actions">${button({ does: 'replay', key, label: `Replay all ${count}`, which: `for ${target} (${adviceOn(reason)?.short ?? reason})`, path: '/api/v1/dead-letters/replay', body: { target, error_reason: reason } })}</p>`
}
<ul class="letters">${letters.map(letter => letterItem(letter, now, mayAct))}</ul>
${count > letters.length && html`<p class="soft">and ${count - letters.length} more: GET /api/v1/dead-letters?target=${target}</p>`}
</article>`
}

function letterItem(letter: DeadLetter, now: number, mayAct: boolean): Html {
  const path = `/api/v1/dead-letters/${encodeURIComponent(letter.id)}`
  const which = `${letter.alerts[0]?.alert.alert_name.slice(0, 80) ?? 'alert'} for ${letter.target}`
  return html`<li id="letter-${letter.id}"><div>${alertsOf(letter)}
<span class="soft says">${moment(letter.accepted_at, `came in ${ago(letter.accepted_at, now)}`)}, given up after ${counted(letter.tries, 'try', 'tries')}</span></div>
${
  mayAct &&
  html`<div class="actions">${button({ does: 'replay', key: letter.id, label: 'Replay', which, path: `${path}/replay` })}
${button({ does: 'discard', key: letter.id, label: 'Discard', which, path, confirm: 'Discard this dead letter? The target will never get it.' })}</div>`
}</li>`
}

const publishColumns = ['When', 'Alert', 'Outcome at each target']
const outcomeMarks: Record<Outcome['state'], Mark> = {
  delivered: 'fine',
  queued: 'late',
  refused: 'lost',
  failed: 'lost',
  nothing: 'none'
}
const outcomeWords: Record<Outcome['state'], string> = {
  delivered: 'delivered',
  queued: 'owed',
  refused: 'given up',
  failed: 'failed, its sender tries again',
  nothing: 'nothing to tell'
}

/** The last notifications, and how each went where. */
export function publishesSection({ publishes, now }: PageState): Html {
  return html`<section id="recent" aria-labelledby="recent-title">
<h2 id="recent-title" tabindex="-1">Recent notifications</h2>
${
  publishes.length === 0
    ? html`<p class="empty">None since the start of this process.</p>`
    : table(
        'Recent notifications',
        publishColumns,
        publishes.map(each =>
          row(`publish-${each.id}`, publishColumns, [
            moment(each.at, ago(each.at, now)),
            publishedAlert(each),
            html`<ul class="outcomes">${each.outcomes.map(outcomeItem)}</ul>`
          ])
        )
      )
}
</section>`
}

function publishedAlert({ alertName: name, alertStatus, alerts }: PublishSummary): Html {
  return html`${alertName(name)} <span class="tag">${alertStatus}</span>${alerts > 1 && html` <span class="soft">and ${alerts - 1} more</span>`}`
}

function outcomeItem({ target, state, parts, inState, attempts, tookMs, error }: Outcome): Html {
  const share = parts > 1 && inState < parts ? `${inState} of ${parts} ` : ''
  const how =
    state === 'delivered' && tookMs !== undefined
      ? `in ${took(tookMs)}${attempts > 1 ? `, at attempt ${attempts}` : ''}`
      : error !== undefined && state !== 'delivered' && error
  return html`<li>${markOf(outcomeMarks[state])} <span class="name">${target}</span> <span class="soft">${share}${outcomeWords[state]}${how && ` ${state === 'delivered' ? how : `(${how})`}`}</span></li>`
}
