/** `1 alert`, `1,204 alerts`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`
}

/** Between a number and its unit, so that no line breaks there. */
const gap = '\u00a0'

/** A duration in one unit, from seconds to days: `12 s`, `4 min`, `3 h`, `2 days`. */
export function span(ms: number): string {
  const seconds = Math.max(Math.round(ms / 1000), 0)
  if (seconds < 90) return `${seconds}${gap}s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 90) return `${minutes}${gap}min`
  const hours = Math.round(minutes / 60)
  return hours < 48 ? `${hours}${gap}h` : `${Math.round(hours / 24)}${gap}days`
}

/** `just now`, `12 s ago`. */
export function ago(at: number, now: number): string {
  return now - at < 1_500 ? 'just now' : `${span(now - at)} ago`
}

/** A measured time, as exact as it is worth: `0.4 ms`, `88 ms`, `1.2 s`. */
export function took(ms: number): string {
  if (ms >= 9_950) return `${Math.round(ms / 1000)}${gap}s`
  if (ms >= 1_000) return `${(ms / 1000).toFixed(1)}${gap}s`
  return `${ms < 1 ? ms.toFixed(1) : Math.round(ms)}${gap}ms`
}

/** The text with a capital first letter. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
