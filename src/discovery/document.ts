import { type Document, isAlias, isCollection, isMap, isPair, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import type { Reading } from '../schema.js'

/** Characters that aliases may add to a document: a thousand targets may share 32 KiB each. */
const maxAliased = 32 * 1024 ** 2

/**
 * Reads YAML or JSON (which YAML includes). The problem names the place but never shows what stands there: the text may
 * hold credentials. Unknown tags and several documents are problems too, since part of the text would be ignored.
 */
export function readDocument(text: string, field: string): Reading<unknown> {
  const plain = jsonIn(text)
  if (plain !== undefined) return { ok: true, value: plain }
  if (isTooDeep(text)) return unreadable(field, 'is not valid YAML or JSON: it is nested too deeply')
  const lineCounter = new LineCounter()
  // What the library does for each key, or each error, grows with how many there are: minutes for a large Secret.
  const options = { merge: true, logLevel: 'error', lineCounter, prettyErrors: false, uniqueKeys: false } as const
  const document = parseDocument(text, options)
  const error = document.errors[0] ?? document.warnings[0]
  const at = (offset: number): string => {
    const { line, col } = lineCounter.linePos(offset)
    return ` (line ${line}, column ${col})`
  }
  if (error) return unreadable(field, `is not valid YAML or JSON${at(error.pos[0])}: ${words(error.code)}`)
  const twice = keyGivenTwice(document.contents)
  if (twice !== undefined) return unreadable(field, `is not valid YAML or JSON${at(twice)}: duplicate key`)
  if (aliasesIn(document) > maxAliases)
    return unreadable(field, `has more than ${maxAliases} aliases`, 'write it as JSON, with all in full')
  if (writtenOut(document.contents) > text.length + maxAliased)
    return unreadable(
      field,
      'is too long: written out, its aliases come to more than 32 MiB, or one holds itself',
      inFull
    )
  try {
    // The library's own limit counts how often an anchor is used, a hundred times at most: too few for targets that share
    // one, and no bound on what merge keys come to.
    return { ok: true, value: document.toJS({ maxAliasCount: -1 }) }
  } catch {
    return unreadable(
      field,
      'is not valid YAML or JSON: an alias of an unknown anchor, or a merge key of no map',
      inFull
    )
  }
}

/** The library looks through the whole document for each. */
const maxAliases = 10_000

function aliasesIn(document: Document.Parsed): number {
  let count = 0
  visit(document, { Alias: () => void count++ })
  return count
}

/** Deeper than that nothing is meant, and where the stack ends the library may end the process. */
const mostNested = 200

/** Whether so many brackets are open at once, in texts or not, or a line begins so many lists or keys or is that far in. */
function isTooDeep(text: string): boolean {
  let open = 0
  for (const [bracket] of text.matchAll(/[[{\]}]/g)) {
    open = Math.max(bracket === '[' || bracket === '{' ? open + 1 : open - 1, 0)
    if (open > mostNested) return true
  }
  return manyAtOnce.test(text)
}

const manyAtOnce = new RegExp(`(?:[-?:][ \\t]+){${mostNested}}|^ {${mostNested}}`, 'm')

/** Where a map has a key for the second time; undefined if none has. */
function keyGivenTwice(node: unknown): number | undefined {
  if (isPair(node)) return keyGivenTwice(node.key) ?? keyGivenTwice(node.value)
  if (!isCollection(node)) return undefined
  const seen = new Set<unknown>()
  for (const item of node.items) {
    const key = isMap(node) && isPair(item) && isScalar(item.key) ? item.key : undefined
    // A merge key may stand there several times.
    if (key && seen.has(key.value) && key.value !== '<<') return key.range?.[0] ?? 0
    if (key) seen.add(key.value)
    const inside = keyGivenTwice(item)
    if (inside !== undefined) return inside
  }
  return undefined
}

/**
 * Characters of a document's values with every alias written out, which a few lines can make any number; infinite if an
 * anchor holds itself.
 */
function writtenOut(node: unknown, anchors = new Map<string, number>()): number {
  // An unknown one is found out when it is resolved.
  if (isAlias(node)) return anchors.get(node.source) ?? 0
  if (isPair(node)) return writtenOut(node.key, anchors) + writtenOut(node.value, anchors)
  if (!isScalar(node) && !isCollection(node)) return 0
  const { anchor } = node
  if (anchor) anchors.set(anchor, Number.POSITIVE_INFINITY)
  const size = isScalar(node)
    ? String(node.value).length + 1
    : node.items.reduce<number>((sum, item) => sum + writtenOut(item, anchors), 1)
  if (anchor) anchors.set(anchor, size)
  return size
}

/**
 * The value of a text that is JSON and says nothing twice, found out by writing it again. The way through YAML takes half
 * a kilobyte for each byte of the text, which a thousand targets would feel.
 */
function jsonIn(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    const bare = text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, '$1')
    return JSON.stringify(value) === bare ? value : undefined
  } catch {
    return undefined
  }
}

const inFull = 'write in full what the alias stands for'
const anyMark = 'check the indentation, the quotes and the brackets'

function unreadable(field: string, message: string, suggestion = anyMark): Reading<unknown> {
  return { ok: false, problems: [{ field, message, suggestion }] }
}

function words(code: string): string {
  return code.toLowerCase().replaceAll('_', ' ')
}
