import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Json } from './stand-in.js'

/** One run of the service's process. */
export interface Run {
  readonly pid: number
  /** How it ended, once it has. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  /** Everything that it wrote so far. */
  output(): string
  kill(signal: NodeJS.Signals): void
}

export interface Answered {
  readonly status: number
  readonly body: Json
}

/** A place where the real service can be run, killed and run again: same directory, same port. */
export interface Place {
  readonly directory: string
  readonly url: string
  /** Starts it without waiting for anything, as another user if one is given. */
  spawn(env?: Readonly<Record<string, string>>, uid?: number): Run
  /** Starts it and resolves once it is ready; throws what it said if it ends before. */
  start(env?: Readonly<Record<string, string>>): Promise<Run>
  get(path: string): Promise<Answered>
  /** Posts JSON. Rejects while nobody listens. */
  post(path: string, body: unknown): Promise<Answered>
  /** Replaces the targets, as an editor does. */
  retarget(targets: readonly object[]): void
}

export interface PlaceOptions {
  readonly targets?: readonly object[]
  /** For Node. */
  readonly flags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

const project = fileURLToPath(new URL('../..', import.meta.url))

/** Compiles the service as it stands, for as long as the test runs, and returns the path of its main module. */
export function compile(t: Pick<Test, 'teardown'>): string {
  const built = mkdtempSync(join(tmpdir(), 'alert-fanout-built-'))
  t.teardown(() => rmSync(built, { recursive: true, force: true }))
  symlinkSync(join(project, 'node_modules'), join(built, 'node_modules'), 'junction')
  cpSync(join(project, 'package.json'), join(built, 'package.json'))
  const compiler = join(project, 'node_modules/@typescript/native/bin/tsc')
  const into = ['--outDir', join(built, 'dist'), '--tsBuildInfoFile', join(built, 'info')]
  const options = ['-p', 'tsconfig.build.json', '--noCheck', ...into]
  execFileSync('env', [...nodeAlone, compiler, ...options], { cwd: project, env: plain, stdio: 'inherit' })
  // Whatever is not code, such as the page's script and style.
  const noCode = (path: string) => !path.endsWith('.ts')
  cpSync(join(project, 'src'), join(built, 'dist'), { recursive: true, filter: noCode })
  return join(built, 'dist/main.js')
}

/** A new place for the compiled service. What runs there is killed with the test. */
export async function openPlace(t: Pick<Test, 'teardown'>, main: string, options: PlaceOptions = {}): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), 'alert-fanout-'))
  const file = join(directory, 'targets.json')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const running = new Set<ChildProcess>()
  const retarget = (targets: readonly object[]) => {
    writeFileSync(`${file}.new`, JSON.stringify({ targets }))
    renameSync(`${file}.new`, file)
  }
  retarget(options.targets ?? [])
  t.teardown(async () => {
    await Promise.all(
      [...running].map(child => {
        child.kill('SIGKILL')
        return new Promise(resolve => child.once('close', resolve))
      })
    )
    rmSync(directory, { recursive: true, force: true })
  })

  async function request(path: string, init?: RequestInit): Promise<Answered> {
    const answer = await fetch(url + path, init)
    const text = await answer.text()
    const isJson = answer.headers.get('content-type')?.startsWith('application/json')
    return { status: answer.status, body: isJson ? JSON.parse(text) : text }
  }

  const place: Place = {
    directory,
    url,
    retarget,
    get: path => request(path),
    post: (path, body) =>
      request(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    spawn(env = {}, uid) {
      const own = { HOST: '127.0.0.1', PORT: String(port), DISCOVERY: 'file', TARGETS_FILE: file, LOG_LEVEL: 'warn' }
      const child = spawn('env', [...nodeAlone, ...(options.flags ?? []), main], {
        cwd: directory,
        env: { ...plain, ...own, QUEUE_DIR: join(directory, 'queue'), ...options.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
        ...(uid === undefined ? {} : { uid })
      })
      running.add(child)
      let output = ''
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', chunk => {
          output += chunk
        })
      }
      const ended = new Promise<Awaited<Run['ended']>>(resolve =>
        child.once('close', (code, signal) => {
          running.delete(child)
          resolve({ code, signal })
        })
      )
      return { pid: child.pid!, ended, output: () => output, kill: signal => void child.kill(signal) }
    },
    async start(env) {
      const run = place.spawn(env)
      let over = false
      void run.ended.then(() => {
        over = true
      })
      while (!over) {
        if (await place.get('/readyz').then(isOk, () => false)) return run
        await new Promise(resolve => setTimeout(resolve, 20))
      }
      throw new Error(`the service ended before it was ready: ${run.output()}`)
    }
  }
  return place
}

/** The test runner loads itself into every process by NODE_OPTIONS, which it sets whatever the environment says. */
const nodeAlone = ['-u', 'NODE_OPTIONS', process.execPath]
const plain = { PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: process.env.TMPDIR } as Record<string, string>

const isOk = ({ status }: Answered): boolean => status === 200

/** A port of the loopback that nobody listens on. */
export function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
