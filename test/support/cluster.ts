import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { freePort } from './process.js'

/** One Alertmanager, which keeps its ports and its data over a restart. */
export interface Node {
  readonly url: string
  start(): Promise<void>
  stop(signal: NodeJS.Signals): Promise<void>
  /** Posts alerts as Prometheus does. */
  post(alerts: object[]): Promise<void>
  /** The sum of one of its counters. */
  counted(metric: string): Promise<number>
  /** Resolves once that is so much. */
  reaches(metric: string, value: number): Promise<void>
}

/** Starts so many real Alertmanagers that know each other, with a configuration in YAML. They end with the test. */
export async function startCluster(t: Test, size: number, configuration: string): Promise<Node[]> {
  const gossip = await Promise.all(Array.from({ length: size }, freePort))
  const nodes = await Promise.all(gossip.map((_, index) => nodeOf(t, configuration, gossip, index)))
  await Promise.all(nodes.map(node => node.start()))
  const complete = async ({ url }: Node) => {
    const status = (await (await fetch(`${url}/api/v2/status`)).json()) as { cluster: { peers?: unknown[] } }
    return size === 1 || status.cluster.peers?.length === size
  }
  for (const node of nodes) while (!(await complete(node))) await sleep(50)
  return nodes
}

async function nodeOf(t: Test, configuration: string, gossip: readonly number[], index: number): Promise<Node> {
  const directory = mkdtempSync(join(tmpdir(), 'alertmanager-'))
  const file = join(directory, 'alertmanager.yml')
  const data = join(directory, 'data')
  mkdirSync(data)
  writeFileSync(file, configuration)
  const listen = `127.0.0.1:${await freePort()}`
  const own = `127.0.0.1:${gossip[index]}`
  const peers = gossip.filter(port => port !== gossip[index]).map(port => `--cluster.peer=127.0.0.1:${port}`)
  // Waits that are made for the internet would only make the test long.
  // While one waits for its peer to be first, it still says what it saw before: that must be short beside a group's interval.
  const quick = [
    '--cluster.peer-timeout=100ms',
    '--cluster.gossip-interval=50ms',
    '--cluster.settle-timeout=2s',
    '--cluster.reconnect-interval=500ms'
  ]
  const cluster = [`--cluster.listen-address=${own}`, `--cluster.advertise-address=${own}`, ...quick, ...peers]
  const alone = ['--cluster.listen-address=']
  const fixed = [
    `--config.file=${file}`,
    `--storage.path=${data}`,
    `--web.listen-address=${listen}`,
    '--log.level=error'
  ]
  const url = `http://${listen}`
  let child: ChildProcess | undefined
  let ended: Promise<unknown> | undefined

  const node: Node = {
    url,
    async start() {
      child = spawn('prometheus-alertmanager', [...fixed, ...(gossip.length > 1 ? cluster : alone)], {
        stdio: 'ignore'
      })
      ended = new Promise(resolve => child!.once('close', resolve))
      while (!(await isReady(url))) await sleep(50)
    },
    async stop(signal) {
      child?.kill(signal)
      await ended
    },
    async post(alerts) {
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(`${url}/api/v2/alerts`, { method: 'POST', headers, body: JSON.stringify(alerts) })
      if (!answer.ok) throw new Error(await answer.text())
    },
    async counted(metric) {
      const text = await (await fetch(`${url}/metrics`)).text()
      const lines = text.split('\n').filter(line => new RegExp(`^${metric}(\\{.*)? `).test(line))
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
    },
    async reaches(metric, value) {
      while ((await node.counted(metric)) < value) await sleep(50)
    }
  }
  t.teardown(async () => {
    await node.stop('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  })
  return node
}

function isReady(url: string): Promise<boolean> {
  return fetch(`${url}/-/ready`).then(
    ({ ok }) => ok,
    () => false
  )
}
