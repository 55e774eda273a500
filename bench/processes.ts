import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ask } from './asking.js'

/** What a process has used so far. */
export interface Usage {
  readonly cpuUs: number
  readonly heapBytes: number
  readonly rssBytes: number
}

/** A server under measurement, in a process of its own. */
export interface Measured {
  readonly origin: string
  /** From its start until it was ready, in milliseconds. */
  readonly startMs: number
  usage(): Promise<Usage>
  /** The same after its garbage was collected. */
  memory(): Promise<Usage>
  stop(): Promise<void>
}

const root = fileURLToPath(new URL('..', import.meta.url))
/** What `npm start` and the image give to Node: flags and the program. */
const asStarted: string[] = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  .scripts.start.split(' ')
  .slice(1)
const work = mkdtempSync(join(tmpdir(), 'alert-fanout-bench-'))
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(work, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))

/** The cores that the measured process, the load and the targets have, one each while there are enough. */
export const cores = pinnable()

/**
 * Starts the service as it is built, with webhooks at these URLs, its defaults unless `own` says otherwise and its log
 * thrown away, and waits until it is ready.
 */
export async function startService(
  targetUrls: readonly string[],
  own: Readonly<Record<string, string>> = {}
): Promise<Measured> {
  return startWith(
    targetUrls.map((url, index) => ({ name: `hook-${index + 1}`, type: 'webhook', format: 'alertmanager', url })),
    own
  )
}

/** The same with targets as a file of targets says them. */
export async function startWith(
  targets: readonly object[],
  own: Readonly<Record<string, string>> = {}
): Promise<Measured> {
  const directory = mkdtempSync(join(work, 'service-'))
  const file = join(directory, 'targets.json')
  writeFileSync(file, JSON.stringify({ targets }))
  const env = { HOST: '127.0.0.1', DISCOVERY: 'file', TARGETS_FILE: file, QUEUE_DIR: join(directory, 'data'), ...own }
  return startMeasured(asStarted, env, origin => fetch(`${origin}/readyz`))
}

/** Starts the bare fan-out to so many targets at one URL. */
export async function startFloor(targetUrl: string, targets: number): Promise<Measured> {
  const env = { TARGET_URL: targetUrl, TARGETS: String(targets) }
  return startMeasured(['--import', 'tsx', 'bench/floor.ts'], env, origin =>
    fetch(origin, { method: 'POST', body: '{}' })
  )
}

/** Starts one of the programs that are not measured: the load or the targets. */
export function startBeside(file: 'load.ts' | 'sink.ts'): ChildProcess {
  return start(['--import', 'tsx', `bench/${file}`], {}, file === 'load.ts' ? cores.load : cores.targets)
}

type Ready = (origin: string) => Promise<Response>

async function startMeasured(args: string[], env: Record<string, string>, ready: Ready): Promise<Measured> {
  const port = await freePort()
  const origin = `http://127.0.0.1:${port}`
  const beganMs = performance.now()
  const child = start(['--import', './bench/probe.mjs', ...args], { ...env, PORT: String(port) }, cores.measured)
  const isReady = () =>
    ready(origin).then(
      answer => answer.ok,
      () => false
    )
  while (!(await isReady())) {
    if (child.exitCode !== null) throw new Error(`${args.at(-1)} ended with ${child.exitCode}`)
    await wait(5)
  }
  const startMs = performance.now() - beganMs
  return {
    origin,
    startMs,
    usage: () => ask<Usage>(child, 'usage'),
    memory: () => ask<Usage>(child, 'memory'),
    async stop() {
      const ended = new Promise(resolve => child.once('exit', resolve))
      child.kill('SIGKILL')
      await ended
    }
  }
}

function start(args: string[], env: Record<string, string>, core: number | undefined): ChildProcess {
  const command = [process.execPath, ...args]
  if (core !== undefined) command.unshift('taskset', '-c', String(core))
  const child = spawn(command[0]!, command.slice(1), {
    cwd: root,
    // Nothing of the caller's own settings: the service has its defaults.
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: 'production', ...env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc']
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

/** Numbers of cores, none where there is no taskset or only one core. */
function pinnable(): { measured?: number; load?: number; targets?: number } {
  try {
    execFileSync('taskset', ['-V'], { stdio: 'ignore' })
    const [, list] = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))!
    const [measured, load, targets = load] = list!.split(',').flatMap(part => {
      const [first, last = first] = part.split('-').map(Number)
      return Array.from({ length: last! - first! + 1 }, (_, index) => first! + index)
    })
    return load === undefined ? {} : { measured: measured!, load, targets: targets! }
  } catch {
    return {}
  }
}
