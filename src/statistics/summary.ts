import { build, type Histogram } from 'hdr-histogram-js'
import Type, { type Static } from 'typebox'

export const Summary = Type.Object(
  {
    count: Type.Integer(),
    avg: Type.Number(),
    min: Type.Number(),
    max: Type.Number(),
    p50: Type.Number(),
    p95: Type.Number(),
    p99: Type.Number()
  },
  { description: 'Milliseconds; all 0 while there is none. Percentiles are within 1 % of the true ones.' }
)
export type Summary = Static<typeof Summary>

/** Durations in a few KiB, however many there are. */
export interface Durations {
  record(ms: number): void
  summary(): Summary
  reset(): void
}

/** The histogram counts whole units: hundredths of a millisecond, up to a day. */
const perMs = 100
const mostUnits = 86_400_000 * perMs

export function openDurations(): Durations {
  const histogram: Histogram = build({
    bitBucketSize: 32,
    numberOfSignificantValueDigits: 2,
    lowestDiscernibleValue: 1,
    highestTrackableValue: mostUnits,
    useWebAssembly: false
  })
  let count = 0
  let sum = 0
  let min = Number.POSITIVE_INFINITY
  let max = 0
  const percentile = (share: number): number =>
    Math.min(Math.max(histogram.getValueAtPercentile(share) / perMs, min), max)

  return {
    record(ms) {
      const value = Math.max(ms, 0)
      histogram.recordValue(Math.min(Math.round(value * perMs), mostUnits))
      count++
      sum += value
      if (value < min) min = value
      if (value > max) max = value
    },
    summary() {
      if (count === 0) return { count, avg: 0, min: 0, max: 0, p50: 0, p95: 0, p99: 0 }
      return { count, avg: sum / count, min, max, p50: percentile(50), p95: percentile(95), p99: percentile(99) }
    },
    reset() {
      histogram.reset()
      count = 0
      sum = 0
      min = Number.POSITIVE_INFINITY
      max = 0
    }
  }
}
