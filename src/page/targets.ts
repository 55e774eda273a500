import type { TargetView } from '../routes/targets.js'
import { kinds } from '../targets/registry.js'
import { adviceOn } from './advice.js'
import { type Html, html } from './html.js'
import { type Mark, markOf } from './marks.js'
import { button, moment, row, table } from './parts.js'
import type { PageState } from './state.js'
import { ago, counted, span, took } from './words.js'

const columns = ['Target', 'Health', 'Circuit', 'Last delivery', 'Owed', 'Actions'] as const
/** Targets that are shown; of more, those in trouble come first. */
const mostTargets = 100

/** Every target: how it is, and what can be done to it. */
export function targetsSection(state: PageState, mayAct: boolean): Html {
  const { targets } = state
  const shown = targets.length > mostTargets ? [...targets].sort(byTrouble).slice(0, mostTargets) : targets
  const names = mayAct ? columns : columns.slice(0, -1)
  return html`<section id="targets" aria-labelledby="targets-title">
<h2 id="targets-title" tabindex="-1">Targets <span class="soft">${targets.length}</span></h2>
${
  targets.length === 0
    ? html`<p class="empty">No target is known. They come from ${state.discovery.source === 'file' ? 'the targets file' : 'Kubernetes Secrets'}.</p>`
    : table(
        'Targets',
        names,
        shown.map(target => targetRow(target, state, names))
      )
}
${targets.length > shown.length && html`<p class="soft">${counted(targets.length - shown.length, 'more target')} that ${targets.length - shown.length === 1 ? 'is' : 'are'} no worse: GET /api/v1/targets</p>`}
</section>`
}

const byTrouble = (a: TargetView, b: TargetView): number => trouble(b) - trouble(a)

function trouble({ enabled, health, circuit, last_result }: TargetView): number {
  if (!enabled) return -1
  return (
    (circuit.state === 'closed' ? 0 : 4) +
    (health.status === 'unhealthy' ? 2 : health.status === 'degraded' ? 1 : 0) +
    (last_result?.success === false ? 2 : 0)
  )
}

function targetRow(target: TargetView, state: PageState, names: readonly string[]): Html {
  const { name, type, url, enabled, filtered } = target
  const owed = state.waiting.find(each => each.target === name)
  return row(
    `target-${name}`,
    names,
    [
      html`<span class="name">${name}</span> ${!enabled && html`<span class="tag">disabled</span>`}
<span class="soft says">${kinds[type]?.title ?? type} · ${url}${filtered && ' · filtered'}</span>`,
      enabled ? health(target, state.now) : html`<span class="soft">not checked</span>`,
      circuit(target, state.now),
      lastResult(target, state.now),
      owed
        ? html`${markOf('late')} <a href="#owed">${owed.count.toLocaleString('en')}</a><span class="soft says">for ${span(state.now - owed.oldestAt)}</span>`
        : html`<span class="soft">nothing</span>`,
      names.length === columns.length && actions(target)
    ].slice(0, names.length)
  )
}

const healthMarks: Record<TargetView['health']['status'], Mark> = {
  healthy: 'fine',
  degraded: 'late',
  unhealthy: 'lost',
  unknown: 'none'
}

function health(
  { health: { status, latency_ms, error_reason, last_check, consecutive_failures } }: TargetView,
  now: number
): Html {
  const details = [
    status !== 'healthy' && consecutive_failures > 0 && adviceOn(error_reason ?? undefined)?.short,
    latency_ms !== null && consecutive_failures === 0 && took(latency_ms),
    last_check !== null && `checked ${ago(Date.parse(last_check), now)}`
  ].filter(Boolean)
  return html`${markOf(healthMarks[status])} ${status}<span class="soft says">${details.join(', ')}</span>`
}

function circuit({ circuit: { state, failures, reason, next_probe }, paused_until }: TargetView, now: number): Html {
  const paused =
    paused_until !== null && html`<span class="soft says">asked to wait ${span(Date.parse(paused_until) - now)}</span>`
  if (state === 'closed') {
    if (failures === 0) return html`${markOf('fine')} closed${paused}`
    return html`${markOf('fine')} closed<span class="soft says">${counted(failures, 'failure')} in a row</span>${paused}`
  }
  const probe = next_probe === null ? 'a probe is under way' : probeWords(Date.parse(next_probe) - now)
  return html`${markOf('lost')} ${state === 'open' ? 'open' : 'half open'}<span class="soft says">${[adviceOn(reason ?? undefined)?.short, probe].filter(Boolean).join(', ')}</span>${paused}`
}

const probeWords = (ms: number): string => (ms > 0 ? `probe in ${span(ms)}` : 'the next delivery is a probe')

function lastResult({ last_result }: TargetView, now: number): Html {
  if (last_result === null) return html`<span class="soft">none yet</span>`
  const { at, success, status_code, error_reason, duration_ms } = last_result
  const short = adviceOn(error_reason ?? undefined)?.short
  const outcome = success ? html`${markOf('fine')} delivered` : html`${markOf('lost')} failed`
  const details = [short, status_code !== null && `HTTP ${status_code}`, `in ${took(duration_ms)}`].filter(Boolean)
  return html`${outcome}<span class="soft says">${details.join(', ')}, ${moment(Date.parse(at), ago(Date.parse(at), now))}</span>`
}

function actions({ name, enabled, circuit }: TargetView): Html {
  const path = `/api/v1/targets/${encodeURIComponent(name)}`
  if (!enabled) return html``
  return html`<span class="actions">
${button({ does: 'test', key: name, label: 'Send test alert', which: `to ${name}`, path: `${path}/test` })}
${button({ does: 'check', key: name, label: 'Check', which: name, path: `${path}/check` })}
${circuit.state !== 'closed' && button({ does: 'reset', key: name, label: 'Close circuit', which: `of ${name}`, path: `${path}/circuit/reset` })}
</span>`
}
