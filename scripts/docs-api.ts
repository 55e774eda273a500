import { parse } from 'yaml'
import { answerTable, fieldTable, type Node, tableOf, words } from './docs-fields.js'

interface Operation {
  summary?: string
  description?: string
  tags?: string[]
  parameters?: { name: string; in: string; description?: string; required?: boolean; schema: Node }[]
  requestBody?: { required: boolean; content: Record<string, { schema: Node }> }
  responses: Record<string, { description?: string; content?: Record<string, { schema: Node }> }>
}

/** Every route of an OpenAPI document: an overview, and then each with its parameters, body and answers. */
export function apiReference(openapi: string): string {
  const { paths } = parse(openapi, { maxAliasCount: -1 }) as { paths: Record<string, Record<string, Operation>> }
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ title: `${method.toUpperCase()} ${path}`, operation }))
  )
  const told = new Map<string, string>()
  let text = tableOf(
    ['route', 'what', 'token'],
    operations.map(({ title, operation }) => [linkTo(title), operation.summary ?? '', roleOf(operation)])
  )
  for (const { title, operation } of operations) text += `\n${oneRoute(title, operation, told)}`
  return text
}

/** As GitHub makes it from the heading. */
export function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')
}

function oneRoute(title: string, operation: Operation, told: Map<string, string>): string {
  const { summary = '', parameters = [], requestBody, responses } = operation
  let text = `### ${title}\n\n${summary}. Token: ${roleOf(operation)}.\n`
  const given = parameters.filter(({ in: place }) => place !== 'path')
  if (given.length > 0) {
    const rows = given.map(({ name, in: place, schema, description }) => [
      `\`${name}\``,
      place,
      words(schema),
      [description ?? schema.description ?? '', schema.default === undefined ? '' : `default: \`${schema.default}\``]
        .filter(Boolean)
        .join('; ')
    ])
    text += `\n${once(`the parameters of ${linkTo(title)}`, tableOf(['parameter', 'in', 'is', ''], rows), told)}`
  }
  const body = requestBody && Object.values(requestBody.content)[0]?.schema
  if (body) {
    if (!requestBody.required) text += '\nThe body may be left out.\n'
    text += `\n${once(`the body of ${linkTo(title)}`, bodyText(body), told)}`
  }
  const failures = Object.keys(responses).filter(status => Number(status) >= 400)
  for (const [status, { description = '', content }] of Object.entries(responses)) {
    if (failures.includes(status)) continue
    const schema = content && Object.values(content)[0]?.schema
    const what = description === 'Default Response' ? '' : `: ${description}`
    const shape = once(`\`${status}\` of ${linkTo(title)}`, schema ? answerTable(schema) : '', told)
    text += shape.startsWith('As ')
      ? `\n\`${status}\`${what}. ${shape}`
      : `\n\`${status}\`${what}\n\n${shape}`.trimEnd()
    if (!text.endsWith('\n')) text += '\n'
  }
  if (failures.length > 0) text += `\nErrors: ${failures.map(status => `\`${status}\``).join(', ')}.\n`
  return text
}

/** A table stands in the page once; later ones like it point at it. */
function once(here: string, table: string, told: Map<string, string>): string {
  const there = told.get(table)
  if (there && table !== '') return `As ${there}.\n`
  told.set(table, here)
  return table
}

const linkTo = (title: string): string => `[\`${title}\`](#${anchorOf(title)})`

function bodyText(schema: Node): string {
  const shapes = schema.anyOf ?? [schema]
  return shapes
    .map(shape => [shape.description && `Body: ${shape.description}`, fieldTable(shape)].filter(Boolean).join('\n\n'))
    .join('\n')
}

function roleOf({ description = '' }: Operation): string {
  return /Token: (\w+)/.exec(description)?.[1] ?? 'none'
}
