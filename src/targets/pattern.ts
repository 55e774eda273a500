import { RE2JS } from 're2js'

/** Tells whether a text matches. */
export interface Pattern {
  /** Anywhere in it. */
  test(text: string): boolean
  /** As a whole. */
  testExact(text: string): boolean
}

/** A pattern takes 10 KiB, and targets have filters alike: there is one of each, for as long as anybody has it. */
const compiled = new Map<string, WeakRef<RE2JS>>()
const unused = new FinalizationRegistry<string>(text => {
  if (!compiled.get(text)?.deref()) compiled.delete(text)
})

/** Compiles a pattern in RE2 syntax. Throws RE2JSException on one that is none. */
export function patternOf(text: string): Pattern {
  const known = compiled.get(text)?.deref()
  if (known) return known
  const pattern = RE2JS.compile(text)
  compiled.set(text, new WeakRef(pattern))
  unused.register(pattern, text)
  return pattern
}
