import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse, stringify } from 'yaml'
import { dashboard, dashboardFile } from '../scripts/dashboard.js'
import { prefix, publishing, server } from '../src/metrics/table.js'
import { observed } from './support/observed.js'
import { needs } from './support/programs.js'

interface Panel {
  title: string
  type: string
  targets?: { expr: string; legendFormat: string }[]
}

const rulesFile = fileURLToPath(new URL('../helm/rules/alert-fanout.yaml', import.meta.url))
const casesFile = fileURLToPath(new URL('rules/alert-fanout.yaml', import.meta.url))
const { groups } = parse(readFileSync(rulesFile, 'utf8')) as {
  groups: { rules: { alert: string; expr: string; annotations: Record<string, string> }[] }[]
}
const rules = groups.flatMap(group => group.rules)
const { panels, templating } = dashboard() as {
  panels: Panel[]
  templating: { list: { name: string; query: string | { query: string } }[] }
}
const lines = panels.flatMap(({ title, targets = [] }) => targets.map(target => ({ title, ...target })))
const queries = templating.list.flatMap(({ query }) => (typeof query === 'string' ? [] : [query.query]))

/** Labels that come from Prometheus, not from us. */
const scraped = ['namespace', 'pod', 'instance', 'job']

const labelsOf = new Map<string, readonly string[]>()
for (const [name, { type, labels }] of [
  ...Object.entries(publishing).map(([name, definition]) => [`${prefix}${name}`, definition] as const),
  ...Object.entries(server)
]) {
  labelsOf.set(name, labels)
  if (type === 'histogram') {
    labelsOf.set(`${name}_bucket`, [...labels, 'le'])
    for (const end of ['sum', 'count']) labelsOf.set(`${name}_${end}`, labels)
  }
}

/** Every metric of an expression, with the labels by which it is selected. */
function metricsIn(expr: string): { name: string; labels: string[] }[] {
  return [...expr.matchAll(/\b((?:alert_history_publishing|http|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)].map(
    ([, name, selection = '']) => ({
      name: name!,
      labels: [...selection.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(match => match[1]!)
    })
  )
}

/** The labels by which an expression groups. */
function groupingIn(expr: string): string[] {
  return [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, names = '']) => names.split(',').map(name => name.trim()))
}

t.test('every metric and label of rules and dashboard is exported', async t => {
  const { metrics } = await observed(t, [])
  const exported = new Set([...(await metrics.text()).matchAll(/^# TYPE (\S+)/gm)].map(match => match[1]!))
  const exprs = [...rules.map(rule => rule.expr), ...lines.map(line => line.expr), ...queries]
  for (const expr of exprs) {
    const found = metricsIn(expr)
    t.ok(found.length > 0, expr)
    const known = new Set(scraped)
    for (const { name, labels } of found) {
      t.ok(exported.has(name) || exported.has(name.replace(/_(bucket|sum|count)$/, '')), name)
      for (const label of labelsOf.get(name) ?? []) known.add(label)
      for (const label of labels)
        t.ok(scraped.includes(label) || labelsOf.get(name)?.includes(label), `${name} ${label}`)
    }
    for (const label of groupingIn(expr)) t.ok(known.has(label), `by ${label}: ${expr}`)
  }
})

t.test('what a legend or an annotation names is there', async t => {
  for (const { expr, legendFormat } of lines) {
    const labels = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(match => match[1]!)
    const single = !/\bby\b|sum|min|max|histogram_quantile/.test(expr)
    const known = single ? scraped : groupingIn(expr)
    for (const label of labels) t.ok(known.includes(label), `${legendFormat}: ${expr}`)
  }
  for (const { expr, annotations } of rules) {
    const labels = [
      ...Object.values(annotations)
        .join(' ')
        .matchAll(/\$labels\.(\w+)/g)
    ].map(match => match[1]!)
    for (const label of labels) t.ok(groupingIn(expr).includes(label), `${label}: ${expr}`)
  }
})

/** Their counts are those of another metric that is shown. */
const sameElsewhere = ['success', 'partial_success', 'failure'].map(word => `${prefix}parallel_${word}_total`)

t.test('every metric of the service is on the dashboard', async t => {
  const shown = new Set(lines.flatMap(({ expr }) => metricsIn(expr).map(({ name }) => name)))
  for (const name of [...Object.keys(publishing).map(name => `${prefix}${name}`), ...Object.keys(server)]) {
    const isShown = ['', '_bucket', '_count'].some(end => shown.has(`${name}${end}`))
    t.ok(isShown || sameElsewhere.includes(name), name)
  }
})

t.test('the dashboard file is what its script makes', async t => {
  t.strictSame(
    JSON.parse(readFileSync(dashboardFile, 'utf8')),
    JSON.parse(JSON.stringify(dashboard())),
    'npx tsx scripts/dashboard.ts --write'
  )
})

t.test('panels have a title, a query and a place of their own', async t => {
  const ids = (panels as unknown as { id: number }[]).map(({ id }) => id)
  t.equal(new Set(ids).size, panels.length)
  t.strictSame(
    panels.filter(({ type }) => type === 'row').map(({ title }) => title),
    ['At a glance', 'Publish', 'Targets', 'Queue', 'Health', 'Discovery', 'Process']
  )
  for (const { title, type, targets } of panels) if (type !== 'row') t.ok(targets!.length > 0, title)
})

t.test('Prometheus understands every query of the dashboard', async t => {
  if (!needs(t, 'promtool')) return
  const records = lines.map(({ expr }, index) => ({
    record: `panel:${index}`,
    expr: expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$(namespace|target)/g, '.*')
  }))
  const file = join(t.testdir(), 'dashboard.yaml')
  writeFileSync(file, stringify({ groups: [{ name: 'dashboard', rules: records }] }))
  t.match(promtool('check', 'rules', file), `SUCCESS: ${records.length} rules found`)
})

t.test('every rule has a case that it fires in and one that it does not', async t => {
  interface Case {
    alert_rule_test: { alertname: string; exp_alerts: unknown[] }[]
    input_series: { series: string }[]
  }
  const { tests } = parse(readFileSync(casesFile, 'utf8')) as { tests: Case[] }
  for (const { alert } of rules) {
    const cases = tests.filter(each => each.alert_rule_test.some(({ alertname }) => alertname === alert))
    const tried = cases.flatMap(each => each.alert_rule_test)
    t.ok(
      tried.some(({ exp_alerts }) => exp_alerts.length > 0),
      `${alert} fires`
    )
    const subjects = new Set(
      cases.flatMap(each =>
        each.input_series.map(({ series }) => /\{namespace="(\w+)"(, target_name="\w+")?/.exec(series)![0])
      )
    )
    const quiet = tried.some(({ exp_alerts }) => exp_alerts.length < subjects.size)
    t.ok(quiet, `${alert} keeps quiet`)
  }
})

t.test('the rules do in Prometheus what their cases say', async t => {
  if (!needs(t, 'promtool')) return
  t.match(promtool('check', 'rules', rulesFile), `SUCCESS: ${rules.length} rules found`)
  t.match(promtool('test', 'rules', casesFile), 'SUCCESS')
})

function promtool(...args: string[]): string {
  try {
    return execFileSync('promtool', args, { encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    return `${stdout}${stderr}`
  }
}
