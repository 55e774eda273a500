// Writes what the documents say of schemas, routes and metrics, from the code: npm run docs
import { readFileSync, writeFileSync } from 'node:fs'
import { stringify } from 'yaml'
import { errorTable } from '../src/errors.js'
import { prefix, publishing, server } from '../src/metrics/table.js'
import type { TargetKind } from '../src/targets/contract.js'
import { kinds } from '../src/targets/registry.js'
import { commonSettings, Filter } from '../src/targets/settings.js'
import { readTarget } from '../src/targets/target.js'
import { apiReference } from './docs-api.js'
import { fieldTable, type Node, tableOf } from './docs-fields.js'

const docs = new URL('../docs/', import.meta.url)

/** The documents with generated parts, whole, by their path under `docs/`. What stands around those parts is kept. */
export function docFiles(): Record<string, string> {
  const openapi = readFileSync(new URL('../openapi.yaml', import.meta.url), 'utf8')
  return {
    'targets.md': filled('targets.md', targetParts()),
    'operations.md': filled('operations.md', { metrics: metricTable() }),
    'api.md': filled('api.md', { errors: errorRows(), routes: apiReference(openapi) })
  }
}

/** The page with each part between `<!-- name -->` and `<!-- /name -->`; one without a place gets a section at the end. */
function filled(page: string, parts: Record<string, string>): string {
  let text = readFileSync(new URL(page, docs), 'utf8')
  for (const [name, body] of Object.entries(parts)) {
    const [open, close] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`]
    if (!text.includes(open)) text += `\n## ${name}\n\n${open}${close}\n`
    text = text.slice(0, text.indexOf(open) + open.length) + body + text.slice(text.indexOf(close))
  }
  return text
}

function targetParts(): Record<string, string> {
  const { filter: _, auth: __, ...common } = commonSettings
  const parts: Record<string, string> = {
    common: fieldTable({ type: 'object', properties: common as Record<string, Node>, required: ['name'] }),
    filter: fieldTable(Filter as unknown as Node),
    kinds: tableOf(
      ['type', 'what', 'one request for each', 'rate limit', 'attempts at once'],
      Object.values(kinds).map(kind => {
        const { type, title, defaults } = kind
        return [`[\`${type}\`](#${type})`, title, eachOf(kind), rateOf(defaults), String(defaults.maxConcurrent)]
      })
    )
  }
  for (const { type, schema } of Object.values(kinds)) {
    const { properties = {}, required = [], examples = [] } = JSON.parse(JSON.stringify(schema)) as Node
    const own = Object.entries(properties).filter(([name]) => name !== 'type' && !(name in commonSettings))
    parts[type] =
      fieldTable({ type: 'object', properties: Object.fromEntries(own), required }) +
      `\n\`\`\`yaml\n${stringify({ targets: examples }, { singleQuote: true, lineWidth: 0 })}\`\`\`\n`
  }
  return parts
}

/** What one request is for, as the examples have it: the first one's settings are the default. */
function eachOf({ schema, lane }: TargetKind): string {
  const lanes = ((schema as Node).examples ?? []).flatMap(example => {
    const reading = readTarget(example)
    return reading.ok ? [lane(reading.value.settings) === 'alert' ? 'alert' : 'notification'] : []
  })
  return [...new Set(lanes)].join(', or ')
}

function rateOf({ rateLimit }: TargetKind['defaults']): string {
  return rateLimit ? `${rateLimit.requests} per ${seconds(rateLimit.perMs)}, burst ${rateLimit.burst}` : 'none'
}

const seconds = (ms: number): string => (ms === 1_000 ? 'second' : ms === 60_000 ? 'minute' : `${ms / 1_000} s`)

function errorRows(): string {
  return tableOf(
    ['code', 'status', 'message where nothing more exact is known'],
    Object.entries(errorTable).map(([code, [status, message]]) => [`\`${code}\``, String(status), message])
  )
}

function metricTable(): string {
  const rows = [
    ...Object.entries(publishing).map(([name, metric]) => ({ name: `${prefix}${name}`, ...metric })),
    ...Object.entries(server).map(([name, metric]) => ({ name, ...metric }))
  ].map(({ name, type, labels, help }) => [
    `\`${name}\``,
    type,
    labels.map((label: string) => `\`${label}\``).join(', '),
    help
  ])
  return tableOf(['metric', 'type', 'labels', ''], rows)
}

if (process.argv.includes('--write'))
  for (const [page, text] of Object.entries(docFiles())) writeFileSync(new URL(page, docs), text)
