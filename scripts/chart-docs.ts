import { readFileSync, writeFileSync } from 'node:fs'
import type { TSchema } from 'typebox'
import { stringify } from 'yaml'
import { Config, readConfig } from '../src/config.js'
import { kinds } from '../src/targets/registry.js'
import { chartValues, notZero } from './chart-values.js'

// Writes what the chart says of its values, from the schemas of the service: npx tsx scripts/chart-docs.ts --write

type Node = {
  type?: string | string[]
  description?: string
  default?: unknown
  examples?: unknown[]
  properties?: Record<string, Node>
  required?: string[]
  [keyword: string]: unknown
}

const helm = new URL('../helm/', import.meta.url)

/** The generated files of the chart by their path under `helm/`: the README keeps what stands around its tables. */
export function chartFiles(): Record<string, string> {
  const schema = valuesSchema()
  return {
    'values.schema.json': `${JSON.stringify(schema, withoutExamples, 2)}\n`,
    'values.yaml': `# Made by scripts/chart-docs.ts from the schemas of the service: change it there.\n${valuesYaml(schema, '')}`,
    'README.md': readme(schema)
  }
}

function valuesSchema(): Node {
  const schema = written(chartValues(configSchema() as TSchema, targetSchema() as TSchema))
  return { $schema: 'http://json-schema.org/draft-07/schema#', title: 'Values of the alert-fanout chart', ...schema }
}

/** The environment, where `HEALTH_INTERVAL: 1m` and `MAX_CONCURRENT: 20` are as good as their quoted forms. */
function configSchema(): Node {
  const properties = Object.fromEntries(
    Object.entries(written(Config).properties!).map(([name, node]) => [
      name,
      { ...asVariable(node), ...(refusesZero(name, node) ? notZero : {}), ...chartsOwn[name] }
    ])
  )
  const description =
    'Environment variables of the service. Each one, with its default, is listed in the chart’s README.'
  return { type: 'object', properties, additionalProperties: false, default: {}, description }
}

/** Whether a duration or size may not be zero. Some may, so the service itself is asked. */
const refusesZero = (name: string, { pattern }: Node) =>
  pattern !== undefined && ['0s', '0B'].every(zero => !readConfig({ [name]: zero }).ok)

/** Where the chart's defaults differ from those of the bare process. */
const chartsOwn: Record<string, Node> = {
  PORT: { minimum: 1, pattern: '^[1-9]\\d{0,4}$', description: 'Port that the container listens on.' },
  DISCOVERY: { default: 'kubernetes', description: 'Where targets are found.' },
  K8S_NAMESPACES: { description: 'Namespaces to watch, comma-separated; * for all. Default: the release’s own.' },
  QUEUE: { enum: ['embedded', 'redis', 'off', false] },
  QUEUE_DIR: { default: '/data', description: 'Where the volume of the embedded queue is mounted.' },
  TARGETS_FILE: {
    default: undefined,
    description: 'With DISCOVERY=file and extraVolumes: the file or directory. targets and targetsSecret set it.'
  },
  REDIS_URL: {
    description: 'Redis or Valkey for QUEUE=redis; the chart keeps it in a Secret. Better: redis.existingSecret.'
  },
  API_TOKENS_FILE: { description: 'With extraVolumes: the file of API tokens. apiTokens sets it.' }
}

function asVariable(node: Node): Node {
  if (node.type === 'integer') {
    // As text a zero in front would make it octal, and the bounds of numbers do not hold for texts.
    const more = String(node.maximum ?? 1_000_000).length - 1
    const pattern = Number(node.minimum ?? 0) > 0 ? `^[1-9]\\d{0,${more}}$` : `^(0|[1-9]\\d{0,${more}})$`
    return { ...node, type: ['integer', 'string'], pattern }
  }
  if (node.type === 'boolean') return { ...node, type: ['boolean', 'string'], enum: [true, false, 'true', 'false'] }
  return node
}

/** One target: which fields it may have depends on its type. A target's name is its key. */
function targetSchema(): Node {
  const rules = Object.values(kinds).map(kind => {
    const { name: _, ...properties } = written(withoutZero(kind.schema)).properties!
    const required = requiredOf(kind.schema).filter(field => field !== 'name')
    return {
      if: { properties: { type: { const: kind.type } }, required: ['type'] },
      // biome-ignore lint/suspicious/noThenProperty: the keyword of JSON Schema
      then: { properties, required, additionalProperties: false }
    }
  })
  return { type: 'object', properties: { type: { enum: Object.keys(kinds) } }, required: ['type'], allOf: rules }
}

/** No time of a target may be zero: the service says so once it has read them all. */
const withoutZero = (schema: TSchema): TSchema =>
  JSON.parse(JSON.stringify(schema), (_, node) => (node?.reads === 'duration' ? { ...node, ...notZero } : node))

const requiredOf = (schema: TSchema) => written(schema).required ?? []

/** A schema as its input is written: what has a default may be left out, and the service's own keywords mean nothing. */
function written(schema: TSchema | Node): Node {
  const copy = JSON.parse(JSON.stringify(schema)) as Node
  visit(copy)
  return copy
}

function visit(node: unknown): void {
  if (node === null || typeof node !== 'object') return
  const schema = node as Node
  if (typeof schema.reads === 'string') delete schema.reads
  if (Array.isArray(schema.required) && schema.properties) {
    schema.required = schema.required.filter(name => schema.properties?.[name]?.default === undefined)
    if (schema.required.length === 0) delete schema.required
  }
  Object.values(schema).forEach(visit)
}

const withoutExamples = (key: string, value: unknown) =>
  key === 'examples' && Array.isArray(value) ? undefined : value

function valuesYaml(group: Node, indent: string): string {
  let text = ''
  for (const [name, node] of valuesOf(group)) {
    const top = indent === ''
    text += `${top ? '\n' : ''}${comment(node.description ?? '', indent)}`
    if (isGroup(node)) text += `${indent}${name}:\n${valuesYaml(node, `${indent}  `)}`
    else text += indented(stringify({ [name]: node.default }, { singleQuote: true, lineWidth: 0 }), indent)
    for (const example of node.examples ?? []) {
      text += indented(stringify({ [name]: example }, { singleQuote: true, lineWidth: 0 }), `${indent}# `)
    }
  }
  return text
}

const valuesOf = (group: Node) => Object.entries(group.properties!).filter(([name]) => name !== 'global')
/** A group of values with defaults of its members; `config` is a map whose members are unset. */
const isGroup = (node: Node) => node.properties !== undefined && node.default === undefined
const indented = (text: string, indent: string) => text.replace(/^(?=.)/gm, indent)

function comment(text: string, indent: string): string {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && `${indent}# ${last} ${word}`.length <= 110) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines.map(line => `${indent}# ${line}\n`).join('')
}

function readme(schema: Node): string {
  const { config } = schema.properties!
  const rows = { values: rowsOf(schema, ''), config: rowsOf(config!, 'config.') }
  let text = readFileSync(new URL('README.md', helm), 'utf8')
  for (const [name, body] of Object.entries(rows)) {
    const table = `| value | default | |\n|---|---|---|\n${body}`
    text = text.replace(
      new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*(<!-- /${name} -->)`),
      (_, open, close) => `${open}${table}${close}`
    )
  }
  return text
}

function rowsOf(group: Node, prefix: string): string {
  return valuesOf(group)
    .map(([name, node]) => {
      if (isGroup(node)) return rowsOf(node, `${prefix}${name}.`)
      const standard = node.default === undefined ? '' : `\`${JSON.stringify(node.default).replaceAll('|', '\\|')}\``
      return `| \`${prefix}${name}\` | ${standard} | ${node.description ?? ''}${allowed(node)} |\n`
    })
    .join('')
}

function allowed({ enum: values, type }: Node): string {
  return Array.isArray(values) && type !== 'boolean' && !Array.isArray(type)
    ? ` One of ${values
        .filter(value => value !== false)
        .map(value => `\`${value}\``)
        .join(', ')}.`
    : ''
}

if (process.argv.includes('--write')) {
  for (const [path, text] of Object.entries(chartFiles())) writeFileSync(new URL(path, helm), text)
}
