import { inspect } from 'node:util'

/** A value that may be used but never shown: wherever it is printed, serialised or joined it reads `[secret]`. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The value itself. Call it only where it goes on the wire. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}

/** Every secret value inside a sealed configuration, longest first, so that none is left half covered. */
export function secretsIn(value: unknown): string[] {
  const found = new Set<string>()
  const walk = (node: unknown): void => {
    if (node instanceof Secret) found.add(node.reveal())
    else if (Array.isArray(node)) node.forEach(walk)
    else if (node !== null && typeof node === 'object') Object.values(node).forEach(walk)
  }
  walk(value)
  found.delete('')
  return [...found].sort((a, b) => b.length - a.length)
}

/** The text with each of the secrets, also as it stands in a URL or in JSON, replaced by `[secret]`. */
export function redact(text: string, secrets: readonly string[]): string {
  let clean = text
  for (const secret of secrets) {
    // A lone surrogate has no place in a URL: encodeURIComponent throws on it.
    const inUrl = encodeURIComponent(Buffer.from(secret).toString())
    for (const form of new Set([secret, inUrl, JSON.stringify(secret).slice(1, -1)])) {
      clean = clean.replaceAll(form, '[secret]')
    }
  }
  return clean
}
