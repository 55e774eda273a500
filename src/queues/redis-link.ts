import { Redis } from 'ioredis'
import { redact, type Secret } from '../secret.js'
import { LeaseLost, Overtaken, StoreUnavailable } from './contract.js'
import { prefix, type ScriptName, scripts } from './redis-scripts.js'

/** The connection to Redis: it fails within a second instead of waiting, and comes back by itself. */
export interface Link {
  /** Whether commands are taken now. */
  up(): boolean
  run(script: ScriptName, args: readonly (string | number)[]): Promise<unknown>
  /** The fields of a hash, or only those of these names. */
  hash(key: string, names?: readonly string[]): Promise<Record<string, string>>
  warnings(): readonly string[]
  close(): Promise<void>
}

const answerMs = 1_000

export interface LinkOptions {
  /** Whether a Redis that is away is waited for, as if it had just gone. One that refuses the password is not. */
  readonly patient: boolean
  /** Called at every connection but the one that opens the link, before any other command can be given. */
  onUp(): void
}

/**
 * Connects; rejects with `StoreUnavailable` if Redis cannot be used, or cannot be reached and is not waited for. A command without an answer for a second ends the connection, so that what
 * was given after it cannot overtake what is tried again.
 */
export async function openLink(url: Secret, { patient, onUp }: LinkOptions): Promise<Link> {
  let up = false
  let opened = false
  let warnings: readonly string[] = []
  let lastError: Error | undefined
  let heardAt = 0
  const secrets = passwordsOf(url)
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
      lastError = clean(error)
      redis.disconnect(true)
    }
  }

  /** Errors of the client carry the command with its arguments, passwords and alerts among them: only the text is kept. */
  const clean = (error: unknown) => new Error(redact((error as Error).message, secrets))

  /** Fails if Redis says nothing at all for a second. Answers come in their order, so every byte is a sign of progress. */
  const inTime = async <T>(answer: Promise<T>): Promise<T> => {
    const since = performance.now()
    let timer: NodeJS.Timeout | undefined
    let waiting = true
    const silence = new Promise<never>((_, reject) => {
      const listen = () => {
        const quietMs = performance.now() - Math.max(heardAt, since)
        if (quietMs >= answerMs) reject(new Error(`no answer within ${answerMs} ms`))
        else if (waiting) timer = setTimeout(ring, answerMs - quietMs)
      }
      // If it was this process that had no time, an answer may be there: it is read before the timer counts.
      const ring = () => setImmediate(() => setImmediate(listen))
      timer = setTimeout(ring, answerMs)
    })
    try {
      return await Promise.race([answer, silence])
    } finally {
      waiting = false
      clearTimeout(timer)
    }
  }

  const command = async <T>(give: () => Promise<T>): Promise<T> => {
    if (!up) throw unavailable(lastError)
    try {
      return await inTime(give())
    } catch (error) {
      const code = codeOf(error)
      if (up && (code === undefined || code === 'READONLY')) {
        up = false
        redis.disconnect(true)
      }
      lastError = clean(error)
      throw unavailable(lastError)
    }
  }

  const run = async (script: ScriptName, args: readonly (string | number)[]): Promise<unknown> => {
    const { hash, text } = scripts[script]
    try {
      return await redis.evalsha(hash, 1, prefix, ...args)
    } catch (error) {
      if (codeOf(error) === 'NOSCRIPT') return redis.eval(text, 1, prefix, ...args)
      throw error
    }
  }

  const some = async (key: string, names: readonly string[]): Promise<Record<string, string>> => {
    const hash: Record<string, string> = {}
    const values = await redis.hmget(key, ...names)
    for (const [index, name] of names.entries()) if (values[index] != null) hash[name] = values[index]!
    return hash
  }

  redis.on('error', error => {
    lastError = clean(error)
  })
  redis.on('close', () => {
    up = false
  })
  redis.on('connect', () => {
    redis.stream.on('data', () => {
      heardAt = performance.now()
    })
  })
  await new Promise<void>((resolve, reject) => {
    const giveUp = setTimeout(() => {
      if (!patient) return reject(unavailable(lastError))
      opened = true
      resolve()
    }, 3 * answerMs)
    redis.on('error', () => {
      if (opened || !hopeless.includes(codeOf(lastError!) ?? '')) return
      clearTimeout(giveUp)
      reject(unavailable(lastError))
    })
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
    run: (script, args) => command(() => run(script, args)),
    hash: (key, names) => command(() => (names ? some(prefix + key, names) : redis.hgetall(prefix + key))),
    warnings: () => warnings,
    async close() {
      // What was given before waits its turn in a pipeline, which the end would overtake.
      await command(() => redis.ping()).catch(() => {})
      up = false
      await inTime(redis.quit()).catch(() => redis.disconnect())
    }
  }
}

/** `OOM`, `ERR` and so on, if it was Redis that said no; undefined if there was no answer. */
function codeOf(error: unknown): string | undefined {
  return /^[A-Z]{3,}(?= )/.exec((error as Error).message)?.[0]
}

function unavailable(cause: Error | undefined): StoreUnavailable {
  const code = cause && codeOf(cause)
  const message =
    code === undefined ? 'Redis is not reachable' : (meanings[code] ?? `Redis refused the command (${code})`)
  return new (kinds[code ?? ''] ?? StoreUnavailable)(message, { cause })
}

function passwordsOf(url: Secret): string[] {
  try {
    const { password } = new URL(url.reveal())
    return password === '' ? [] : [password, decodeURIComponent(password)]
  } catch {
    return [url.reveal()]
  }
}

/** What no waiting mends: a start is given up at once. */
const hopeless = ['NOAUTH', 'WRONGPASS', 'NOPERM']

/** What it refuses on our own scripts' behalf. */
const kinds: Readonly<Record<string, typeof StoreUnavailable>> = { LEASE: LeaseLost, CHANGED: Overtaken }

/** What Redis says when it refuses, in words for an operator. */
const meanings: Record<string, string> = {
  OOM: 'Redis is full: it has reached maxmemory',
  LEASE: 'another process may have taken over: the lease was lost',
  CHANGED: 'other processes kept changing the same alerts',
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
