import { setTimeout as wait } from 'node:timers/promises'
import { type Bench, during, type Table, toAll } from './bench.js'
import { median } from './figures.js'
import { startService, type Usage } from './processes.js'

const megabytes = (bytes: number): string => (bytes / 1_048_576).toFixed(1)

/** What 1,000 targets cost, after the garbage is collected: known and checked, and after two publishes to each. */
export async function memory(bench: Bench): Promise<Table> {
  const one = await looked(1)
  const many = await looked(1_001)
  const row = (name: string, { heapBytes, rssBytes }: Usage) => [name, megabytes(heapBytes), megabytes(rssBytes)]
  const less = (a: Usage, b: Usage): Usage => ({
    cpuUs: a.cpuUs - b.cpuUs,
    heapBytes: a.heapBytes - b.heapBytes,
    rssBytes: a.rssBytes - b.rssBytes
  })
  return {
    title: 'Memory of 1,000 targets',
    head: ['', 'heap MiB', 'resident MiB'],
    rows: [
      row('one target, known', one.known),
      row('1,000 more, known', less(many.known, one.known)),
      row('one target, used', one.used),
      row('1,000 more, used', less(many.used, one.used))
    ],
    notes: [
      'Known: found and checked once. Used: after two publishes to each, so with an open connection, the log of those deliveries and what the ledger remembers.'
    ]
  }

  async function looked(count: number): Promise<{ known: Usage; used: Usage }> {
    const urls = Array.from({ length: count }, () => bench.target('/0'))
    return during(await startService(urls), async ({ origin, memory }) => {
      // The first health check of every target is over by then.
      await wait(bench.quick ? 1_500 : 4_000)
      const known = await memory()
      for (let publish = 0; publish < 2; publish++) await fetch(origin + toAll, onePublish(publish))
      return { known, used: await memory() }
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
    labels: { alertname: 'NodeDown', severity: 'critical', instance: `node-${number}` }
  }
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ alert }) }
}
