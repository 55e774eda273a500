import type { Problem } from '../schema.js'
import { turn } from './turn.js'

/** Values that one alert of a large body may have, and the rest of it. To parse millions of names would take seconds. */
const mostValues = 20_000
/** Bytes of alerts that are parsed before others get the event loop. A body of no more is parsed as it is. */
export const parsedAtOnce = 256 * 1024

/** A body that has too much in one place. */
export class TooManyValues extends Error {
  constructor(readonly problem: Problem) {
    super('too many values')
  }
}

/**
 * What `JSON.parse` makes of a body, whose `alerts` are parsed in turns: others get the event loop in between.
 * Throws SyntaxError or TooManyValues.
 */
export async function parseInTurns(bytes: Buffer): Promise<unknown> {
  const { rest, pieces } = cut(bytes)
  const body: unknown = JSON.parse(rest.toString())
  const list = (body as { alerts?: unknown } | null)?.alerts
  // Under another spelling of its name a later list is the one that counts.
  if (!Array.isArray(list) || list.length > 0) return body
  for (const [index, piece] of pieces.entries()) {
    if (index > 0) await turn()
    const alerts = JSON.parse(`[${piece}]`) as unknown[]
    if (alerts.length === 0 && pieces.length > 1) throw new SyntaxError('a comma without an alert')
    for (const alert of alerts) list.push(alert)
  }
  return body
}

/** A body, cut between its alerts. */
interface Cut {
  /** The body with an empty list of alerts. */
  readonly rest: Buffer
  /** What stands between the list's brackets, without the commas at which it was cut. */
  readonly pieces: readonly Buffer[]
}

const quote = 0x22
const comma = 0x2c
const backslash = 0x5c

/** Cuts without parsing: that the brackets and all between them are right is seen by whoever parses the pieces. */
function cut(bytes: Buffer): Cut {
  const rest: Buffer[] = []
  let pieces: Buffer[] = []
  let depth = 0
  /** Whether this is within the list of alerts, and how many of them are over. */
  let within = false
  let over = 0
  let restValues = 0
  let alertValues = 0
  /** Where the part of the rest, or the piece, began; and the last text of the body's own level. */
  let from = 0
  let nameAt = 0
  let nameEnd = 0
  for (let at = 0; at < bytes.length; at++) {
    switch (bytes[at]) {
      case quote: {
        const end = endOfText(bytes, at)
        if (depth === 1) [nameAt, nameEnd] = [at, end]
        at = end
        break
      }
      case comma:
        if (!within) {
          if (++restValues > mostValues) throw tooMany('body')
        } else if (depth > 2) {
          if (++alertValues > mostValues) throw tooMany(`alerts[${over}]`)
        } else {
          over++
          alertValues = 0
          if (at - from < parsedAtOnce) break
          pieces.push(bytes.subarray(from, at))
          from = at + 1
        }
        break
      case 0x5b: // [
      case 0x7b: // {
        if (++depth === 2 && bytes[at] === 0x5b && bytes.toString('latin1', nameAt, nameEnd + 1) === '"alerts"') {
          rest.push(bytes.subarray(from, at + 1))
          from = at + 1
          pieces = []
          within = true
          over = alertValues = 0
        }
        break
      case 0x5d: // ]
      case 0x7d: // }
        if (--depth === 1 && within) {
          pieces.push(bytes.subarray(from, at))
          from = at
          within = false
        }
        break
    }
  }
  if (depth !== 0) throw new SyntaxError('brackets that do not match')
  rest.push(bytes.subarray(from))
  return { rest: Buffer.concat(rest), pieces }
}

/** Where the text that begins with the quote at `from` has its other one. */
function endOfText(bytes: Buffer, from: number): number {
  for (let at = from + 1; at < bytes.length; at++) {
    if (bytes[at] === backslash) at++
    else if (bytes[at] === quote) return at
  }
  throw new SyntaxError('a text that does not end')
}

const tooMany = (field: string): TooManyValues =>
  new TooManyValues({
    field,
    message: `has more than ${mostValues} values`,
    suggestion: 'send what is that long as a link to it'
  })
