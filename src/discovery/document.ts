import { parseDocument } from 'yaml'
import type { Reading } from '../schema.js'

/**
 * Reads YAML or JSON (which YAML includes). The problem names the place but never shows what stands there: the text may
 * hold credentials. Unknown tags and several documents are problems too, since part of the text would be ignored.
 */
export function readDocument(text: string, field: string): Reading<unknown> {
  const plain = jsonIn(text)
  if (plain !== undefined) return { ok: true, value: plain }
  const document = parseDocument(text, { merge: true, logLevel: 'error' })
  const error = document.errors[0] ?? document.warnings[0]
  const place = error?.linePos ? ` (line ${error.linePos[0].line}, column ${error.linePos[0].col})` : ''
  if (error) return unreadable(field, `is not valid YAML or JSON${place}: ${words(error.code)}`)
  try {
    return { ok: true, value: document.toJS() }
  } catch {
    return unreadable(field, 'is not valid YAML or JSON: an alias that is unknown or used too often')
  }
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

function unreadable(field: string, message: string): Reading<unknown> {
  return { ok: false, problems: [{ field, message, suggestion: 'check the indentation, the quotes and the brackets' }] }
}

function words(code: string): string {
  return code.toLowerCase().replaceAll('_', ' ')
}
