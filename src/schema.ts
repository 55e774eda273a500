import Type, { type Static, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { Settings } from 'typebox/system'
import { Value } from 'typebox/value'
import { Secret } from './secret.js'

// TypeBox would stop at 8 errors; people are told all of them.
Settings.Set({ maxErrors: 200 })

/** One thing that is wrong with an input, in the words of whoever wrote it. Never carries the value. */
export interface Problem {
  /** Where, as a path: `alert.labels.team`, `PORT`, `targets[2].url`. */
  field: string
  message: string
  suggestion: string
}

/** A problem in one line, for a log or a terminal. */
export const sentenceOf = ({ field, message, suggestion }: Problem): string => `${field} ${message}: ${suggestion}`

/** A timer of Node.js that is set for more than 2^31 ms rings at once. */
export const longestTimerMs = 24 * 86_400_000

/** What Kubernetes and DNS take as one part of a name, as a pattern: RFC 1123. */
export const dnsLabel = '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'

const durationUnits = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const sizeUnits = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, KB: 1e3, MB: 1e6, GB: 1e9 }

interface FieldOptions {
  description?: string
  default?: string
  examples?: string[]
}

/** A field written as `500ms`, `10s`, `2m`, `1h` or `7d` and read as milliseconds. */
export const Duration = (options: FieldOptions = {}) =>
  Type.Unsafe<number>({ type: 'string', pattern: '^\\d+(\\.\\d+)?(ms|s|m|h|d)$', reads: 'duration', ...options })

/** A field written as `10MiB` or `512KB` and read as bytes. */
export const Size = (options: FieldOptions = {}) =>
  Type.Unsafe<number>({ type: 'string', pattern: '^\\d+(B|KiB|MiB|GiB|KB|MB|GB)$', reads: 'size', ...options })

/** A field whose value must never be shown: read as a `Secret`. */
export const SecretText = (options: FieldOptions & { minLength?: number; maxLength?: number } = {}) =>
  Type.Unsafe<Secret>({ type: 'string', minLength: 1, reads: 'secret', ...options })

/** Milliseconds of a duration as people write it, or undefined if it is none. */
export function durationMs(text: string): number | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? []
  return unit === undefined ? undefined : Number(number) * durationUnits[unit as keyof typeof durationUnits]
}

function sizeBytes(text: string): number {
  const [, number, unit] = /^(\d+)(\D+)$/.exec(text) ?? []
  return Number(number) * sizeUnits[unit as keyof typeof sizeUnits]
}

export type Reading<T> = { ok: true; value: T } | { ok: false; problems: Problem[] }

/**
 * A reader for one schema: fills in defaults, reports every problem at once, and turns durations into milliseconds,
 * sizes into bytes and secrets into `Secret`. The input is not changed. `root` goes before every field name.
 */
export function reader<S extends TSchema>(schema: S): (input: unknown, root?: string) => Reading<Static<S>> {
  const check = Compile(schema)
  // Where nothing is filled in or turned into something else, the input itself is the value.
  const plain = !/"(default|reads)":/.test(JSON.stringify(schema))
  return (input, root = '') => {
    const filled = plain ? input : Value.Default(schema, structuredClone(input))
    if (!check.Check(filled)) return { ok: false, problems: problemsOf(schema, check.Errors(filled), root) }
    return { ok: true, value: (plain ? filled : convert(schema, filled)) as Static<S> }
  }
}

interface SchemaError {
  keyword: string
  schemaPath: string
  instancePath: string
  params: object
  message: string
}

function problemsOf(schema: TSchema, errors: SchemaError[], root: string): Problem[] {
  const problems = new Map<string, Problem>()
  for (const error of meant(schema, errors)) {
    const params = error.params as Record<string, unknown>
    if (error.keyword === 'additionalProperties') {
      for (const name of params.additionalProperties as string[]) {
        const field = join(root, `${error.instancePath}/${escaped(name)}`)
        problems.set(field, { field, message: 'is not a known field', suggestion: 'check the spelling, or remove it' })
      }
    } else if (error.keyword === 'required') {
      for (const name of params.requiredProperties as string[]) {
        const field = join(root, `${error.instancePath}/${escaped(name)}`)
        problems.set(field, { field, message: 'is required', suggestion: `add ${name}` })
      }
    } else if (error.keyword === 'propertyNames') {
      const suggestion = hintOf(at(schema, error.instancePath))
      for (const name of params.propertyNames as string[]) {
        const field = join(root, `${error.instancePath}/${escaped(name)}`)
        problems.set(field, { field, message: 'is not a name that is allowed here', suggestion })
      }
    } else if (error.keyword === 'boolean' && error.schemaPath.endsWith('/additionalProperties')) {
      // One for each unknown field; where there are too many, the error that sums them up is cut off.
      const field = join(root, error.instancePath)
      problems.set(field, { field, message: 'is not a known field', suggestion: 'check the spelling, or remove it' })
    } else if (error.keyword !== 'boolean' && !error.schemaPath.endsWith('/propertyNames')) {
      const field = join(root, error.instancePath)
      if (!problems.has(field)) problems.set(field, { field, ...wording(at(schema, error.instancePath), error) })
    }
  }
  return [...problems.values()]
}

/** Of an either-or told apart by `type`, only the errors of the branch that was meant: the others' lead astray. */
function meant(schema: TSchema, errors: SchemaError[]): SchemaError[] {
  let left = errors
  for (const union of errors.filter(error => error.keyword === 'anyOf')) {
    const types = at(schema, union.instancePath)?.anyOf?.map(branch => branch.properties?.type?.const)
    if (!types || types.includes(undefined)) continue
    const ofBranch = (branch: number) => (error: SchemaError) =>
      `${error.schemaPath}/`.startsWith(`${union.schemaPath}/anyOf/${branch}/`)
    const typeIsWrong = ({ keyword, instancePath, params }: SchemaError) =>
      (keyword === 'const' && instancePath === `${union.instancePath}/type`) ||
      (keyword === 'required' && (params as { requiredProperties: string[] }).requiredProperties.includes('type'))
    const others = types.map((_, branch) => branch).filter(branch => errors.filter(ofBranch(branch)).some(typeIsWrong))
    left = left.filter(error => error !== union && !others.some(branch => ofBranch(branch)(error)))
    if (others.length === types.length)
      left.push({
        ...union,
        keyword: 'enum',
        instancePath: `${union.instancePath}/type`,
        params: { allowedValues: types }
      })
  }
  return left
}

function wording(
  schema: Record<string, unknown> | undefined,
  error: SchemaError
): { message: string; suggestion: string } {
  const params = error.params as Record<string, unknown>
  if (schema?.reads === 'duration')
    return { message: 'is not a duration', suggestion: 'write it as 500ms, 10s, 2m or 1h' }
  if (schema?.reads === 'size') return { message: 'is not a size', suggestion: 'write it as 512KiB or 10MiB' }
  if (error.keyword === 'enum') {
    return {
      message: 'is not one of the allowed values',
      suggestion: `use one of: ${(params.allowedValues as unknown[]).join(', ')}`
    }
  }
  return { message: error.message, suggestion: hintOf(schema) }
}

function hintOf(schema: Record<string, unknown> | undefined): string {
  return typeof schema?.description === 'string' ? schema.description : 'see the API reference'
}

const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1')

/** `/targets/2/url` under `body` → `body.targets[2].url`. */
function join(root: string, pointer: string): string {
  let path = root
  for (const raw of pointer.split('/').slice(1)) {
    // In YAML a forgotten blank makes a name of `token:xyz`, with the value in it.
    const step = raw
      .replaceAll('~1', '/')
      .replaceAll('~0', '~')
      .replace(/[:=].*$/s, '…')
    path += /^\d+$/.test(step) ? `[${step}]` : path === '' ? step : `.${step}`
  }
  return path
}

type Node = Record<string, unknown> & {
  properties?: Record<string, Node>
  items?: Node
  anyOf?: Node[]
  const?: unknown
  additionalProperties?: Node | boolean
}

function at(schema: TSchema, pointer: string): Node | undefined {
  let node: Node | undefined = schema as Node
  for (const step of pointer.split('/').slice(1)) {
    node =
      node?.properties?.[step] ??
      node?.items ??
      (node && recordOf(node)) ??
      (typeof node?.additionalProperties === 'object' ? node.additionalProperties : undefined)
  }
  return node
}

/** What the values of a record are, described at least as well as the record is. */
function recordOf(node: Node): Node | undefined {
  const value = patternOf(node)
  return value && { description: node.description, ...value }
}

function convert(schema: Node | TSchema, value: unknown): unknown {
  const branches = (schema as Node).anyOf
  const node = (branches?.find(branch => Value.Check(branch as TSchema, value)) ?? schema) as Node
  if (typeof value === 'string') {
    if (node.reads === 'duration') return durationMs(value)
    if (node.reads === 'size') return sizeBytes(value)
    return node.reads === 'secret' ? new Secret(value) : value
  }
  if (Array.isArray(value)) return value.map(item => (node.items ? convert(node.items, item) : item))
  if (value === null || typeof value !== 'object') return value
  const rest = typeof node.additionalProperties === 'object' ? node.additionalProperties : patternOf(node)
  const entries = Object.entries(value).map(([key, item]) => {
    const child = node.properties?.[key] ?? rest
    return [key, child ? convert(child, item) : item]
  })
  return Object.fromEntries(entries)
}

/** The one value schema of a record such as `headers`. */
function patternOf(node: Node): Node | undefined {
  const patterns = node.patternProperties as Record<string, Node> | undefined
  return patterns ? Object.values(patterns)[0] : undefined
}
