import type { Problem, Reading } from '../schema.js'
import { kinds } from '../targets/registry.js'
import { readDocument } from './document.js'
import { type Entry, nameOf, readEntry } from './snapshot.js'

/** A Secret as far as discovery looks at it. */
export interface SecretObject {
  readonly metadata: {
    readonly name: string
    readonly namespace: string
    readonly uid: string
    readonly resourceVersion: string
    readonly creationTimestamp: string
  }
  readonly data?: Readonly<Record<string, string>> | null
}

/** Whether this is a Secret as the API sends it, and not a piece of something else. */
export function isSecret(object: unknown): object is SecretObject {
  const { metadata, data } = (object ?? {}) as Partial<SecretObject>
  const { name, namespace, uid, resourceVersion, creationTimestamp } = metadata ?? {}
  const texts = [name, namespace, uid, resourceVersion, creationTimestamp, ...Object.values(data ?? {})]
  return texts.every(text => typeof text === 'string')
}

/** What stands in a Secret: one key `config` with YAML or JSON, or one key for each setting. Its name is the default name. */
export function secretEntry({ metadata, data }: SecretObject): Entry {
  const raw = rawTarget(data ?? {})
  const reading = raw.ok ? readEntry(raw.value, metadata.name) : raw
  const place = `${metadata.namespace}/${metadata.name}`
  return { key: place, source: `Secret ${place}`, name: nameOf(raw.ok ? raw.value : undefined, metadata.name), reading }
}

function rawTarget(data: Readonly<Record<string, string>>): Reading<unknown> {
  const texts = new Map<string, string>()
  const problems: Problem[] = []
  for (const [key, base64] of Object.entries(data)) {
    const field = key.replaceAll('-', '_')
    const text = textFrom(base64)
    if (text === undefined) problems.push(problem(key, 'is not UTF-8 text', 'store it as text'))
    else if (texts.has(field)) problems.push(problem(key, 'is there twice, with - and with _', 'remove one of the two'))
    else texts.set(field, text)
  }
  const config = texts.get('config')
  if (config !== undefined) {
    for (const field of texts.keys()) {
      if (field !== 'config') problems.push(problem(field, 'stands beside config', 'move it into config, or remove it'))
    }
    return problems.length > 0 ? { ok: false, problems } : readDocument(config, 'config')
  }
  return flatTarget(texts, problems)
}

function flatTarget(texts: Map<string, string>, problems: Problem[]): Reading<unknown> {
  const schema = Object.values(kinds).find(kind => kind.type === texts.get('type')?.trim())?.schema
  const properties = (schema as { properties?: Record<string, { type?: string; enum?: unknown }> } | undefined)
    ?.properties
  const raw: [string, unknown][] = []
  for (const [field, text] of texts) {
    const node = properties?.[field]
    // A file or an echo that a Secret was made of ends in a line break that nobody means.
    if (!node || node.type === 'string' || node.enum) raw.push([field, text.replace(/[\r\n]+$/, '')])
    else {
      const read = readDocument(text, field)
      if (read.ok) raw.push([field, read.value])
      else problems.push(...read.problems)
    }
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, value: Object.fromEntries(raw) }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function textFrom(base64: string): string | undefined {
  try {
    return utf8.decode(Buffer.from(base64, 'base64'))
  } catch {
    return undefined
  }
}

function problem(field: string, message: string, suggestion: string): Problem {
  return { field, message, suggestion }
}
