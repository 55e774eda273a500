/** A token bucket: `perMs` milliseconds for `requests` tokens, at most `burst` at a time. */
export interface Rate {
  readonly requests: number
  readonly perMs: number
  readonly burst: number
}

/** How many tokens there were at a time; may be negative where tokens were promised ahead. */
export interface Bucket {
  readonly tokens: number
  readonly at: number
}

export const fullBucket = (rate: Rate, now: number): Bucket => ({ tokens: rate.burst, at: now })

function at(bucket: Bucket, rate: Rate, now: number): number {
  return Math.min(rate.burst, bucket.tokens + (Math.max(0, now - bucket.at) * rate.requests) / rate.perMs)
}

/** Milliseconds until a token taken now may be used: 0 if there is one. */
export function waitMs(bucket: Bucket, rate: Rate, now: number): number {
  const tokens = at(bucket, rate, now)
  return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) * rate.perMs) / rate.requests)
}

/** The bucket after a token was taken, or promised for when `waitMs` has passed. */
export function take(bucket: Bucket, rate: Rate, now: number): Bucket {
  return { tokens: at(bucket, rate, now) - 1, at: now }
}

/** The bucket after a promised token was given back unused. */
export function giveBack(bucket: Bucket, rate: Rate, now: number): Bucket {
  return { tokens: Math.min(rate.burst, at(bucket, rate, now) + 1), at: now }
}
