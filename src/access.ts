import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { ApiError } from './errors.js'
import type { Problem, Reading } from './schema.js'

const roles = ['publish', 'read', 'admin'] as const
type TokenRole = (typeof roles)[number]

interface Token {
  readonly name: string
  readonly role: TokenRole
  readonly digest: Buffer
}

/** Who may do what. */
export interface Access {
  /** Whether tokens are required at all. */
  readonly guarded: boolean
  /** Why the request is refused; undefined if it is not. */
  check(headers: IncomingHttpHeaders, method: string, role: TokenRole | 'open'): ApiError | undefined
}

/** Everything is open. */
export const openAccess: Access = accessFor([])

/** Access by the lines of a tokens file, `name:role:token`. Problems name the line and never show a token. */
export function readTokens(text: string): Reading<Access> {
  const tokens: Token[] = []
  const problems: Problem[] = []
  text.split(/\r?\n/).forEach((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) return
    const [, name, role, token] = /^([^:\s]+):([^:\s]+):(\S+)\s*$/.exec(line) ?? []
    const field = `API_TOKENS_FILE line ${index + 1}`
    if (name === undefined || token === undefined)
      problems.push({ field, message: 'is not name:role:token', suggestion: 'write it as alertmanager:publish:…' })
    else if (!roles.includes(role as TokenRole))
      problems.push({ field, message: 'has an unknown role', suggestion: `use one of: ${roles.join(', ')}` })
    else tokens.push({ name, role: role as TokenRole, digest: digestOf(token) })
  })
  if (problems.length === 0 && tokens.length === 0) {
    problems.push({
      field: 'API_TOKENS_FILE',
      message: 'has no token',
      suggestion: 'add one per line, or unset the variable to leave everything open'
    })
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, value: accessFor(tokens) }
}

function accessFor(tokens: readonly Token[]): Access {
  const roleOf = (headers: IncomingHttpHeaders): TokenRole | undefined => {
    const [, token] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? []
    if (token === undefined) return undefined
    const digest = digestOf(token)
    let found: TokenRole | undefined
    // All are compared, each in constant time.
    for (const known of tokens) if (timingSafeEqual(known.digest, digest)) found = known.role
    return found
  }
  const guarded = tokens.length > 0
  return {
    guarded,
    check(headers, method, role) {
      if (method !== 'GET' && method !== 'HEAD' && isOfAnotherSite(headers)) {
        return new ApiError('FORBIDDEN', {
          message: 'requests from other sites are refused; a proxy must pass on Host, or say it in X-Forwarded-Host'
        })
      }
      if (!guarded || role === 'open') return undefined
      const own = roleOf(headers)
      if (own === undefined) return new ApiError('UNAUTHORIZED')
      return own === 'admin' || own === role ? undefined : new ApiError('FORBIDDEN')
    }
  }
}

/**
 * Whether a browser sends it for a page of another site. Over plain HTTP browsers leave out Sec-Fetch-Site, but not Origin;
 * X-Forwarded-Host is none of the headers that a page can set for another site without asking first.
 */
function isOfAnotherSite(headers: IncomingHttpHeaders): boolean {
  const { origin, host } = headers
  const site = headers['sec-fetch-site']
  if (site !== undefined || origin === undefined) return site === 'cross-site'
  const own = [host, headers['x-forwarded-host']]
    .flatMap(value => value ?? [])
    .map(value => value.split(',')[0]!.trim())
  return !URL.canParse(origin) || !own.includes(new URL(origin).host)
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
