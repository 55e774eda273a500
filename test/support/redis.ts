import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Secret } from '../../src/secret.js'

export interface RedisServer {
  readonly url: Secret
  readonly port: number
  /** Ends it and waits for that; what it had stays in its directory. */
  stop(signal?: NodeJS.Signals): Promise<void>
  /** Starts it again on the same port and directory. */
  start(...args: string[]): Promise<void>
  /** Stops it from answering, without closing its connections, until `resume`. */
  pause(): void
  resume(): void
}

/** A real redis-server on a free port, ended with the test. Append-only file on, saved at every write. */
export async function startRedis(t: Test, ...args: string[]): Promise<RedisServer> {
  const dir = mkdtempSync(join(tmpdir(), 'redis-'))
  const port = await freePort()
  let child: ChildProcess | undefined
  const server: RedisServer = {
    url: new Secret(`redis://127.0.0.1:${port}`),
    port,
    async stop(signal = 'SIGTERM') {
      if (!child || child.exitCode !== null || child.signalCode !== null) return
      const ended = new Promise(resolve => child!.once('exit', resolve))
      child.kill(signal)
      await ended
    },
    async start(...args) {
      const fixed = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '']
      const safe = ['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction']
      child = spawn('redis-server', [...fixed, ...safe, ...args], { stdio: 'ignore' })
      await listening(port)
    },
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT')
  }
  t.teardown(async () => {
    await server.stop('SIGKILL')
    rmSync(dir, { recursive: true, force: true })
  })
  await server.start(...args)
  return server
}

function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** Waits until something there answers PING, if only with the wish for a password: before, Redis may be loading. */
async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const answer = await new Promise<string>(resolve => {
      const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
      socket.once('data', data => {
        resolve(data.toString())
        socket.destroy()
      })
      socket.once('error', () => setTimeout(resolve, 20, ''))
    })
    if (answer.startsWith('+PONG') || answer.startsWith('-NOAUTH')) return
    if (answer !== '') await new Promise(resolve => setTimeout(resolve, 20))
  }
  throw new Error(`nothing listens on ${port}`)
}
