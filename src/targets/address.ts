import type { Problem } from '../schema.js'
import type { Secret } from '../secret.js'

/** Where requests go: what is worth taking apart once. */
export interface Address {
  /** Scheme, host and port. */
  readonly origin: string
  /** Path and query as they were written. */
  readonly path: string
  /** The path with another one after it, and the query. */
  under(path: string): string
}

/** Takes a checked URL apart; throws on one that is none. */
export function addressOf(url: Secret | string): Address {
  const { origin, pathname, search } = new URL(textOf(url))
  const base = pathname.replace(/\/+$/, '')
  return { origin, path: pathname + search, under: path => base + path + search }
}

/** What is wrong with a target's URL: it must be http or https, and carry no credentials of its own. */
export function urlProblems(url: Secret | string, field: string): Problem[] {
  const text = textOf(url)
  const parsed = URL.canParse(text) ? new URL(text) : undefined
  if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:') {
    return [{ field, message: 'is not an http or https URL', suggestion: 'write it as https://host/path' }]
  }
  if (parsed.username !== '' || parsed.password !== '') {
    return [
      { field, message: 'carries a user name or password', suggestion: 'use auth: {type: basic, username, password}' }
    ]
  }
  return []
}

/** The name of a settings field as problems show it: under `root` if there is one. */
export function fieldOf(root: string, name: string): string {
  return root === '' ? name : `${root}.${name}`
}

function textOf(url: Secret | string): string {
  return typeof url === 'string' ? url : url.reveal()
}
