/** The first `max` (a whole number) code points of a text; if any had to go, the last of them is `…` and `onCut` is told. */
export function cut(text: string, max: number, onCut?: () => void): string {
  if (text.length <= max) return text
  let units = 0
  let keep = 0
  for (let points = 0; units < text.length; points++) {
    if (points === max - 1) keep = units
    if (points === max) {
      onCut?.()
      return `${text.slice(0, keep)}…`
    }
    units += text.codePointAt(units)! > 0xffff ? 2 : 1
  }
  return text
}

/** JSON that every receiver can read: a lone surrogate, which UTF-8 cannot carry, becomes U+FFFD. */
export function json(value: unknown): string {
  const text = JSON.stringify(value)
  if (!text.includes('\\ud')) return text
  return text.replace(/\\(?:u(d[89a-f][0-9a-f]{2})|.)/g, (as, lone) => (lone === undefined ? as : '\ufffd'))
}

/** `late by 12 min` once a message is more than a minute late, for its readers; else undefined. */
export function lateness(lateByMs: number): string | undefined {
  if (lateByMs <= 60_000) return undefined
  const minutes = Math.round(lateByMs / 60_000)
  return minutes < 120 ? `late by ${minutes} min` : `late by ${Math.round(minutes / 60)} h`
}
