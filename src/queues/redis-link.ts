import { Redis } from 'ioredis'
import type { Secret } from '../secret.js'
import { StoreUnavailable } from './contract.js'
import { prefix, type ScriptName, scripts } from './redis-scripts.js'

/** The connection to Redis: it fails within a second instead of waiting, and comes back by itself. */
export interface Link {
  /** Whether commands are taken now. */
  up(): boolean
  run(script: ScriptName, args: readonly (string | number)[]): Promise<unknown>
  hash(key: string): Promise<Record<string, string>>
  warnings(): readonly string[]
  close(): Promise<void>
}

const answerMs = 1_000

/**
 * Connects; rejects with `StoreUnavailable` if Redis cannot be reached or used. `onUp` is called at every reconnection,
 * before any other command can be given. A command without an answer for a second ends the connection, so that what
 * was given after it cannot overtake what is tried again.
 */
export async function openLink(url: Secret, onUp: () => void): Promise<Link> {
  let up = false
  let opened = false
  let warnings: readonly string[] = []
  let lastError: unknown
  const redis = new Redis(url.reveal(), {
    protocol: 2,
    lazyConnect: true,
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: answerMs,
    retryStrategy: times => Math.random() * Math.min(100 * 2 ** Math.min(times, 5), 2_000)
  })

  const prepare = async () => {
    try {
      const loaded = Object.values(scripts).map(({ text }) => redis.script('LOAD', text))
      const [info] = await inTime(Promise.all([redis.info(), ...loaded]))
      warnings = warningsOf(info as string)
      up = true
      if (opened) onUp()
      opened = true
    } catch (error) {
      lastError = error
      redis.disconnect(true)
    }
  }

  const inTime = async <T>(answer: Promise<T>): Promise<T> => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${answerMs} ms`)), answerMs)
    })
    try {
      return await Promise.race([answer, late])
    } finally {
      clearTimeout(timer)
    }
  }

  const command = async <T>(give: () => Promise<T>): Promise<T> => {
    if (!up) throw new StoreUnavailable('Redis is not reachable', { cause: lastError })
    try {
      return await inTime(give())
    } catch (cause) {
      const code = /^[A-Z]+\b/.exec((cause as Error).message)?.[0]
      if (code !== 'OOM' && code !== 'LEASE' && up) {
        up = false
        lastError = cause
        redis.disconnect(true)
      }
      throw new StoreUnavailable(meanings[code ?? ''] ?? 'Redis does not answer', { cause })
    }
  }

  redis.on('error', error => {
    lastError = error
  })
  redis.on('close', () => {
    up = false
  })
  await new Promise<void>((resolve, reject) => {
    const giveUp = setTimeout(() => reject(new StoreUnavailable('Redis is not reachable', { cause: lastError })), 3_000)
    redis.on('ready', async () => {
      await prepare()
      if (!up) return
      clearTimeout(giveUp)
      resolve()
    })
    redis.connect().catch(() => {})
  }).catch(error => {
    redis.disconnect()
    throw error
  })

  return {
    up: () => up,
    run: (script, args) => command(() => redis.evalsha(scripts[script].hash, 1, prefix, ...args)),
    hash: key => command(() => redis.hgetall(prefix + key)),
    warnings: () => warnings,
    async close() {
      up = false
      await inTime(redis.quit()).catch(() => redis.disconnect())
    }
  }
}

/** What Redis says when it refuses, in words for an operator. */
const meanings: Record<string, string> = {
  OOM: 'Redis is full: it has reached maxmemory',
  LEASE: 'another process may have taken over: the lease was lost',
  READONLY: 'Redis is a replica and takes no writes',
  MISCONF: 'Redis cannot save to disk and takes no writes',
  LOADING: 'Redis is loading its data',
  NOAUTH: 'Redis wants a password',
  WRONGPASS: 'Redis refused the password',
  NOPERM: 'Redis refused the command: the user may not run scripts',
  MOVED: 'Redis is a cluster, which is not supported: name a single server'
}

/** What makes a promise of durability void, from `INFO`. */
function warningsOf(info: string): string[] {
  const value = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1]
  const warnings: string[] = []
  if (value('aof_enabled') !== '1') {
    warnings.push('Redis has its append-only file off: what is owed is lost when it restarts (set appendonly yes)')
  }
  const policy = value('maxmemory_policy')
  if (policy !== 'noeviction') {
    warnings.push(`Redis may evict what is owed (maxmemory-policy ${policy}): set it to noeviction`)
  }
  if (value('role') === 'slave') warnings.push('Redis is a replica and takes no writes: name the primary')
  return warnings
}
