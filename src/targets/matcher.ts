import { patternOf } from './pattern.js'

/** One Alertmanager matcher: `name op "value"`. */
export interface Matcher {
  readonly name: string
  readonly op: '=' | '!=' | '=~' | '!~'
  readonly value: string
}

/** The matchers of one text, or what is wrong with it, in words that do not repeat it. */
export type ParsedMatchers = { ok: true; matchers: Matcher[] } | { ok: false; message: string }

/**
 * Reads `a="b"`, `a=~b.*` or a list such as `{a="b", "c d"!="e"}` as Alertmanager does by default: by its classic grammar
 * (unknown escapes keep their backslash, so that `"\d+"` is a pattern) and, where that does not fit, by its UTF-8 one
 * (quoted names, Go escapes).
 */
export function parseMatchers(text: string): ParsedMatchers {
  const body = withoutBraces(text.trim())
  if (body === undefined) return { ok: false, message: 'has a { or a } without its counterpart' }
  const pieces = splitAtCommas(body)
  if (pieces.length === 0) return { ok: false, message: 'holds no matcher' }
  for (const parse of [parseClassic, parseUtf8]) {
    const matchers = pieces.map(parse)
    if (matchers.every(matcher => matcher !== undefined)) return { ok: true, matchers }
  }
  return { ok: false, message: 'is not a matcher' }
}

/** Tells whether a label's value (`''` if the label is absent) satisfies the matcher. Throws on a pattern that is none. */
export function matches({ op, value }: Matcher): (label: string) => boolean {
  if (op === '=') return label => label === value
  if (op === '!=') return label => label !== value
  const holds = plainly(value) ?? exactly(value)
  return op === '=~' ? holds : label => !holds(label)
}

/** Text as it stands, `.*` before or after it. */
const plain = /^(\.\*)?((?:[\w :/@-]|\\\.)*)(\.\*)?$/

/**
 * `critical|warning`, `prod-.*|.*\.example\.com` and the like, as most patterns are: they need no engine, which would take
 * 10 KiB.
 */
function plainly(pattern: string): ((label: string) => boolean) | undefined {
  const words = new Set<string>()
  const open: ((label: string) => boolean)[] = []
  for (const alternative of pattern.split('|')) {
    const [, before, escaped, after] = plain.exec(alternative) ?? []
    if (escaped === undefined) return undefined
    const text = escaped.replaceAll('\\.', '.')
    if (before && after) open.push(label => label.includes(text))
    else if (before) open.push(label => label.endsWith(text))
    else if (after) open.push(label => label.startsWith(text))
    else words.add(text)
  }
  return anyOf(words, open)
}

function anyOf(words: ReadonlySet<string>, open: ((label: string) => boolean)[]): (label: string) => boolean {
  if (open.length === 0) return label => words.has(label)
  // A dot stands for anything but the end of a line.
  return label => words.has(label) || (!label.includes('\n') && open.some(fits => fits(label)))
}

function exactly(text: string): (label: string) => boolean {
  const pattern = patternOf(text)
  return label => pattern.testExact(label)
}

function withoutBraces(text: string): string | undefined {
  if (text.startsWith('{') !== text.endsWith('}')) return undefined
  return text.startsWith('{') ? text.slice(1, -1) : text
}

/** Only a last piece may be empty (a trailing comma); any other empty one stays, and fits no grammar. */
function splitAtCommas(text: string): string[] {
  const pieces = ['']
  let quoted = false
  let escaped = false
  for (const char of text) {
    if (char === '"' && !escaped) quoted = !quoted
    escaped = char === '\\' && !escaped
    if (char === ',' && !quoted) pieces.push('')
    else pieces[pieces.length - 1] += char
  }
  if (pieces.at(-1)?.trim() === '') pieces.pop()
  return pieces.map(piece => piece.trim())
}

function parseClassic(piece: string): Matcher | undefined {
  const [, name, op, raw] = /^([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!~|!=|=)\s*(.*)$/s.exec(piece) ?? []
  const [, quoted, bare] = /^(?:"((?:[^"\\]|\\.)*)"|((?:[^"\\]|\\.)*\\?))$/s.exec(raw ?? '') ?? []
  const value = quoted ?? bare
  if (name === undefined || value === undefined) return undefined
  return { name, op: op as Matcher['op'], value: value.replace(/\\([n"\\])/g, (_, c) => (c === 'n' ? '\n' : c)) }
}

const word = '("(?:[^"\\\\]|\\\\.)*"|[^\\s{}!=~,\\\\"\'`]+)'
const utf8Matcher = new RegExp(`^${word}\\s*(=~|!~|!=|=)\\s*${word}$`, 'su')

function parseUtf8(piece: string): Matcher | undefined {
  const [, rawName, op, rawValue] = utf8Matcher.exec(piece) ?? []
  if (rawName === undefined || rawValue === undefined) return undefined
  const name = unquote(rawName)
  const value = unquote(rawValue)
  return name && value !== undefined ? { name, op: op as Matcher['op'], value } : undefined
}

const goText = /\\(?:([abfnrtv\\"])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))|([^\\\n]+)/suy
const simple: Record<string, string> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' }
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A word's text by Go's rules for quoted strings, or undefined if it breaks them or is no UTF-8. */
function unquote(word: string): string | undefined {
  if (!word.startsWith('"')) return word
  const text = word.slice(1, -1)
  const bytes: Buffer[] = []
  for (goText.lastIndex = 0; goText.lastIndex < text.length; ) {
    const [, letter, hex, octal, u4, u8, plain] = goText.exec(text) ?? [undefined]
    const point = u4 ?? u8
    if (plain !== undefined) bytes.push(Buffer.from(plain))
    else if (letter !== undefined) bytes.push(Buffer.from(simple[letter] ?? letter))
    else if (hex !== undefined) bytes.push(Buffer.of(Number.parseInt(hex, 16)))
    else if (octal !== undefined && Number.parseInt(octal, 8) < 256) bytes.push(Buffer.of(Number.parseInt(octal, 8)))
    else if (point !== undefined && isScalar(Number.parseInt(point, 16))) {
      bytes.push(Buffer.from(String.fromCodePoint(Number.parseInt(point, 16))))
    } else return undefined
  }
  try {
    return utf8.decode(Buffer.concat(bytes))
  } catch {
    return undefined
  }
}

function isScalar(point: number): boolean {
  return point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff)
}
