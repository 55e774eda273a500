/** A JSON schema, as far as documents tell of it. */
export interface Node {
  type?: string | string[]
  description?: string
  default?: unknown
  const?: unknown
  enum?: unknown[]
  examples?: unknown[]
  properties?: Record<string, Node>
  patternProperties?: Record<string, Node>
  additionalProperties?: Node | boolean
  required?: string[]
  items?: Node
  anyOf?: Node[]
  minimum?: number
  maximum?: number
  maxLength?: number
  reads?: string
}

/** A Markdown table; bars in cells are escaped. */
export function tableOf(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |\n`
  return line(head) + line(head.map(() => '---')).replaceAll(' ', '') + rows.map(line).join('')
}

/** A table of an object's fields, nested ones by their path. */
export function fieldTable(schema: Node): string {
  const rows = rowsOf(schema, '', 'input')
  return rows.length === 0 ? '' : tableOf(['field', 'is', 'default', ''], rows)
}

/** A table of what an answer holds: there is nothing to leave out, so what is optional says so. */
export function answerTable(schema: Node): string {
  return tableOf(
    ['field', 'is', ''],
    rowsOf(schema, '', 'output').map(([field, is, standard, text]) => [
      field!,
      standard === '' ? `${is}, optional` : is!,
      text!
    ])
  )
}

function rowsOf(schema: Node, path: string, side: 'input' | 'output'): string[][] {
  if (schema.items?.properties) return rowsOf(schema.items, `${path}[]`, side)
  return Object.entries(schema.properties ?? {}).flatMap(([name, node]) => {
    const here = path === '' ? name : `${path}.${name}`
    const real = nullable(node) ?? node
    return [
      [`\`${here}\``, words(node), standard(node, schema.required?.includes(name) ?? false), node.description ?? ''],
      ...rowsOf(real, here, side)
    ]
  })
}

function standard(node: Node, required: boolean): string {
  if (node.default !== undefined) return `\`${String(node.default)}\``
  return required ? 'required' : ''
}

/** What a value must be, in a few words. */
export function words(node: Node): string {
  const other = nullable(node)
  if (other) return `${words(other)}, or null`
  if (node.anyOf) {
    const types = node.anyOf.map(branch => branch.properties?.type?.const)
    return types.every(type => type !== undefined) ? types.map(type => `\`${type}\``).join(', ') : 'see above'
  }
  if (node.const !== undefined) return `\`${node.const}\``
  if (node.enum) return node.enum.map(value => `\`${value}\``).join(', ')
  if (node.reads) return node.reads
  if (node.type === 'array') return node.items?.properties ? 'list of objects' : `list of ${words(node.items ?? {})}`
  if (node.patternProperties) return `map of ${words(Object.values(node.patternProperties)[0]!)}`
  if (node.type === 'object') return typeof node.additionalProperties === 'object' ? 'map' : 'object'
  const plain = { string: 'text', boolean: 'true or false', integer: 'whole number', number: 'number' }[
    String(node.type)
  ]
  return plain ? plain + range(node) : 'any'
}

function range({ minimum, maximum }: Node): string {
  if (minimum !== undefined && maximum !== undefined) return `, ${minimum} to ${maximum}`
  return minimum === undefined ? '' : `, at least ${minimum}`
}

/** What a value is when it is not null; undefined if it never is. */
function nullable({ anyOf = [] }: Node): Node | undefined {
  return anyOf.length === 2 && anyOf[1]?.type === 'null' ? anyOf[0] : undefined
}
