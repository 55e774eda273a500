import { setTimeout as wait } from 'node:timers/promises'
import { type Bench, during, type Table, toAll } from './bench.js'
import { median } from './figures.js'
import { startService, startWith, type Usage } from './processes.js'

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)

/** A target that keeps its connection, so that what is measured holds all of them. */
type MakeTarget = (url: string, index: number) => object

const webhook: MakeTarget = (url, index) => ({ name: `hook-${index}`, type: 'webhook', format: 'alertmanager', url })

/** Of every kind that takes the sink's answers, each with a filter and a pattern of its own. */
const filtered: MakeTarget = (url, index) => ({
  name: `target-${index}`,
  filter: { severities: ['critical', 'warning'], matchers: ['team!~"a|b"', `instance=~"node-.*|other-${index}"`] },
  url,
  ...kinds[index % kinds.length]
})
const kinds = [
  { type: 'webhook' },
  { type: 'pagerduty', routing_key: '0123456789abcdef0123456789abcdef' },
  { type: 'alertmanager' },
  { type: 'webhook', format: 'alertmanager', batch: 'alert', auth: { type: 'bearer', token: 'a token' } }
]

/**
 * What 1,000 targets cost, after the garbage is collected: known and checked, after two publishes to each, and once the
 * process has been idle for a while and given back what it needed only for the publishes.
 */
export async function memory(bench: Bench): Promise<Table> {
  const rows: string[][] = []
  for (const [name, make] of [
    ['webhooks', webhook],
    ['four kinds, each with a filter', filtered]
  ] as const) {
    const one = await looked(1, make)
    const many = await looked(1_001, make)
    for (const moment of ['known', 'used', 'at rest'] as const) {
      const [less, more] = [one[moment], many[moment]]
      const figures = [less.heapBytes, less.rssBytes, more.heapBytes - less.heapBytes, more.rssBytes - less.rssBytes]
      rows.push([`${name}, ${moment}`, ...figures.map(megabytes)])
    }
  }
  return {
    title: 'Memory of 1,000 targets',
    head: ['', 'heap MB with one', 'resident MB with one', 'heap MB of 1,000 more', 'resident MB of 1,000 more'],
    rows,
    notes: [
      'Known: found and checked once. Used: right after two publishes that reached each of them. At rest: 15 s later, when V8 has given back the room it took for the publishes; every target still has its open connection. The targets are in a process of their own.',
      'About half of the resident memory of Used is that room: a process with one target takes it as well, once it has made 2,000 deliveries.'
    ]
  }

  async function looked(count: number, make: MakeTarget): Promise<Record<'known' | 'used' | 'at rest', Usage>> {
    const targets = Array.from({ length: count }, (_, index) => make(bench.target('/?as=/kept/0'), index))
    return during(await startWith(targets), async ({ origin, memory }) => {
      // The first health check of every target is over by then.
      await wait(bench.quick ? 1_500 : 4_000)
      const known = await memory()
      for (let publish = 0; publish < 2; publish++) {
        const answer = await fetch(origin + toAll, onePublish(publish))
        const { success_count } = (await answer.json()) as { success_count: number }
        if (success_count !== count) throw new Error(`a publish reached ${success_count} of ${count} targets`)
      }
      const used = await memory()
      await wait(15_000)
      return { known, used, 'at rest': await memory() }
    })
  }
}

/** From the start of the process to its first 200 of `/readyz`, targets in a file. */
export async function coldStart(bench: Bench): Promise<Table> {
  const rows: string[][] = []
  for (const count of [5, 1_000]) {
    const urls = Array.from({ length: count }, () => bench.target('/0'))
    const times: number[] = []
    for (let round = 0; round < (bench.quick ? 2 : 5); round++) {
      times.push(await during(await startService(urls), async ({ startMs }) => startMs))
    }
    rows.push([String(count), median(times).toFixed(0)])
  }
  return { title: 'Cold start', head: ['targets', 'ms to ready'], rows }
}

function onePublish(number: number): RequestInit {
  const alert = {
    status: 'firing',
    labels: { alertname: 'NodeDown', severity: 'critical', instance: `node-${number}`, team: 'c' }
  }
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ alert }) }
}
