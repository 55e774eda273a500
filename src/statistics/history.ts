import Type, { type Static } from 'typebox'

/** What is counted in each interval. */
const counted = {
  publishes: Type.Integer(),
  success: Type.Integer({ description: 'Publishes that at least one target has, and none failed.' }),
  partial_success: Type.Integer(),
  failure: Type.Integer(),
  attempts: Type.Integer(),
  failed_attempts: Type.Integer(),
  queued: Type.Integer({ description: 'Entries that became owed.' }),
  dead_letters: Type.Integer()
}

const Point = Type.Object({
  at: Type.String({ description: 'RFC 3339: when the interval began.' }),
  ...counted,
  avg_duration_ms: Type.Number({ description: 'Of the publishes, in milliseconds.' }),
  max_duration_ms: Type.Number()
})
type Point = Static<typeof Point>

const Change = Type.Object({
  direction: Type.Enum(['rising', 'falling', 'steady'], { description: 'steady: less than 10 % of change.' }),
  before: Type.Number({ description: 'The older half of the window.' }),
  after: Type.Number({ description: 'The newer half.' })
})

export const StatisticsHistory = Type.Object({
  window_seconds: Type.Number(),
  interval_seconds: Type.Number(),
  points: Type.Array(Point, { description: 'Oldest first; intervals in which nothing happened are there too.' }),
  trend: Type.Object(
    { publishes_per_minute: Change, failed_attempts_percent: Change, avg_duration_ms: Change },
    { description: 'The newer half of the window beside the older one.' }
  )
})
export type StatisticsHistory = Static<typeof StatisticsHistory>

const intervalMs = 10_000
const intervals = 360

type Counts = Record<keyof typeof counted, number>
interface Bucket extends Counts {
  /** Intervals since the epoch; tells whether the bucket is of this hour. */
  number: number
  durationMs: number
  maxDurationMs: number
}

/** The last hour, in intervals of 10 s. */
export interface History {
  /** `at`: now, in milliseconds since the epoch. */
  add(what: keyof Counts, at: number): void
  duration(ms: number, at: number): void
  read(windowMs: number): StatisticsHistory
  /** Publishes per second over the last whole minute. */
  publishesPerSecond(): number
}

export function openHistory(now: () => number): History {
  const ring = Array.from({ length: intervals }, () => empty(-1))

  const bucket = (at: number): Bucket => {
    const number = Math.floor(at / intervalMs)
    const place = number % intervals
    if (ring[place]!.number !== number) ring[place] = empty(number)
    return ring[place]!
  }
  const last = (count: number, end: number): Bucket[] =>
    Array.from({ length: count }, (_, index) => {
      const number = end - count + index
      const found = ring[number % intervals]!
      return found.number === number ? found : empty(number)
    })

  return {
    add: (what, at) => void bucket(at)[what]++,
    duration(ms, at) {
      const current = bucket(at)
      current.durationMs += ms
      current.maxDurationMs = Math.max(current.maxDurationMs, ms)
    },
    publishesPerSecond() {
      const minute = last(6, Math.floor(now() / intervalMs))
      return sum(minute, 'publishes') / 60
    },
    read(windowMs) {
      const count = Math.min(Math.max(Math.ceil(windowMs / intervalMs), 2), intervals)
      const buckets = last(count, Math.floor(now() / intervalMs) + 1)
      const half = Math.floor(count / 2)
      const older = buckets.slice(0, half)
      const newer = buckets.slice(count - half)
      return {
        window_seconds: (count * intervalMs) / 1000,
        interval_seconds: intervalMs / 1000,
        points: buckets.map(pointOf),
        trend: {
          publishes_per_minute: change(
            older,
            newer,
            some => (sum(some, 'publishes') * 60_000) / (some.length * intervalMs)
          ),
          failed_attempts_percent: change(
            older,
            newer,
            some => 100 * ratio(sum(some, 'failed_attempts'), sum(some, 'attempts'))
          ),
          avg_duration_ms: change(older, newer, some => ratio(sum(some, 'durationMs'), sum(some, 'publishes')))
        }
      }
    }
  }
}

function empty(number: number): Bucket {
  return {
    number,
    publishes: 0,
    success: 0,
    partial_success: 0,
    failure: 0,
    attempts: 0,
    failed_attempts: 0,
    queued: 0,
    dead_letters: 0,
    durationMs: 0,
    maxDurationMs: 0
  }
}

function pointOf({ number, durationMs, maxDurationMs, ...counts }: Bucket): Point {
  return {
    at: new Date(number * intervalMs).toISOString(),
    ...counts,
    avg_duration_ms: ratio(durationMs, counts.publishes),
    max_duration_ms: maxDurationMs
  }
}

function change(older: Bucket[], newer: Bucket[], measure: (some: Bucket[]) => number): Static<typeof Change> {
  const before = measure(older)
  const after = measure(newer)
  const difference = after - before
  const isSteady = Math.abs(difference) <= 0.1 * Math.max(before, after)
  return { direction: isSteady ? 'steady' : difference > 0 ? 'rising' : 'falling', before, after }
}

function sum(buckets: readonly Bucket[], what: keyof Bucket): number {
  return buckets.reduce((total, each) => total + each[what], 0)
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole
}
