// Publishes as Alertmanager does, every time a new alert whose fingerprint says when it was sent.
import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { type Dispatcher, Pool } from 'undici'
import { serve } from './asking.js'
import { type Figures, figuresOf } from './figures.js'

export interface Load {
  readonly origin: string
  /** One publish is a post to each of them, one after the other. */
  readonly paths: readonly string[]
  readonly seconds: number
  /** Closed loop: so many callers, each of which waits for its answer. */
  readonly callers?: number
  /** Open loop: so many publishes a second, whether or not earlier ones were answered. */
  readonly perSecond?: number
  /** With `perSecond`: times count from when each was due to be sent, and so tell of every wait, the load's own too. */
  readonly fromDue?: boolean
  /** Each alert comes in a group of its own: what one target is owed of one group waits as one. */
  readonly ownGroups?: boolean
}

/** Times of publishes from sending to the whole answer. */
export interface Loaded extends Figures {
  readonly perSecond: number
  /** Posts by the status of their answer; 0 where none came. */
  readonly statuses: Readonly<Record<number, number>>
}

const fixture = readFileSync(new URL('../test/fixtures/alertmanager/firing-1.json', import.meta.url), 'utf8').trim()
const marker = '40740cd330866521'
const oneGroup = fixture.split(marker)
const ownGroup = fixture.replace('"groupKey":"', `"groupKey":"${marker}`).split(marker)
const headers = { 'content-type': 'application/json', 'user-agent': 'Alertmanager/0.28.1' }
let lastNs = 0n

function freshBody(parts: readonly string[]): string {
  const nowNs = process.hrtime.bigint()
  lastNs = nowNs > lastNs ? nowNs : lastNs + 1n
  return parts.join(lastNs.toString(16).padStart(16, '0'))
}

serve({
  async load({ origin, paths, seconds, callers, perSecond, fromDue, ownGroups }: Load): Promise<Loaded> {
    const pool = new Pool(origin, { connections: callers ?? null, headersTimeout: 60_000, bodyTimeout: 60_000 })
    const times: number[] = []
    const statuses: Record<number, number> = {}
    const beganMs = performance.now()
    const untilMs = beganMs + seconds * 1_000

    async function once(dueMs?: number): Promise<void> {
      const body = freshBody(ownGroups ? ownGroup : oneGroup)
      const startMs = dueMs ?? performance.now()
      for (const path of paths) {
        const status = await post(pool, path, body)
        statuses[status] = (statuses[status] ?? 0) + 1
      }
      times.push(performance.now() - startMs)
    }

    if (perSecond) {
      const running: Promise<void>[] = []
      const all = Math.round(perSecond * seconds)
      while (running.length < all) {
        const due = Math.min(all, Math.floor(((performance.now() - beganMs) / 1_000) * perSecond) + 1)
        while (running.length < due) {
          running.push(once(fromDue ? beganMs + (running.length * 1_000) / perSecond : undefined))
        }
        await wait(1)
      }
      await Promise.all(running)
    } else {
      const caller = async () => {
        while (performance.now() < untilMs) await once()
      }
      await Promise.all(Array.from({ length: callers ?? 1 }, caller))
    }
    const tookMs = performance.now() - beganMs
    await pool.close()
    return { ...figuresOf(times), perSecond: (times.length / tookMs) * 1_000, statuses }
  }
})

/** The status of the answer, or 0. Less than undici's own request does, so that the load costs little. */
function post(pool: Pool, path: string, body: string): Promise<number> {
  return new Promise(resolve => {
    let status = 0
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart() {},
      onResponseStart(_controller, statusCode) {
        status = statusCode
      },
      onResponseData() {},
      onResponseEnd: () => resolve(status),
      onResponseError: () => resolve(0)
    }
    pool.dispatch({ path, method: 'POST', headers, body }, handler)
  })
}
