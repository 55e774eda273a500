/** What many times come to, in milliseconds. */
export interface Figures {
  readonly count: number
  readonly p50: number
  readonly p99: number
}

/** Percentiles of times in milliseconds; NaN where there is none. */
export function figuresOf(times: readonly number[]): Figures {
  const sorted = Float64Array.from(times).sort()
  const at = (part: number): number => sorted[Math.floor(sorted.length * part)] ?? Number.NaN
  return { count: sorted.length, p50: at(0.5), p99: at(0.99) }
}

/** The middle one; of two, the greater. NaN of none. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}
