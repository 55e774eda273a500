import { closeSync, openSync, readdirSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join, relative } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { StoreUnavailable } from './contract.js'

/**
 * Makes this process the only owner of a directory until `release`. A listening socket `owner.N` in it says who the
 * owner is: the system closes it with the process however that ends, so nothing has to be guessed from process ids, and
 * containers that share a volume see each other. Rejects with `StoreUnavailable` while another owner lives.
 */
export async function lockDirectory(dir: string): Promise<() => void> {
  const path = socketPaths(dir)
  try {
    for (;;) {
      const latest = owners(dir).at(-1) ?? 0
      if (latest > 0 && (await lives(path.of(latest)))) throw taken(dir)
      const server = await listen(path.of(latest + 1))
      if (!server) continue
      if (owners(dir).at(-1) !== latest + 1) {
        server.close()
        throw taken(dir)
      }
      for (const number of owners(dir)) if (number <= latest) rmSync(join(dir, `owner.${number}`), { force: true })
      return () => {
        server.close()
        path.close()
      }
    }
  } catch (cause) {
    path.close()
    if (cause instanceof StoreUnavailable) throw cause
    throw new StoreUnavailable(
      `the queue directory ${dir} cannot be locked: ${(cause as NodeJS.ErrnoException).code}`,
      { cause }
    )
  }
}

function taken(dir: string): StoreUnavailable {
  return new StoreUnavailable(`the queue directory ${dir} is in use by another process`)
}

/** The numbers of the sockets that are there, rising. The highest counts: the others are left from before. */
function owners(dir: string): number[] {
  return readdirSync(dir)
    .filter(name => /^owner\.\d+$/.test(name))
    .map(name => Number(name.slice(6)))
    .sort((a, b) => a - b)
}

/** A socket's path may have about 100 bytes: a longer one goes through a descriptor of its directory. */
function socketPaths(dir: string) {
  const short = [dir, relative(process.cwd(), dir) || '.'].find(path => Buffer.byteLength(path) < 80)
  if (short !== undefined) return { of: (number: number) => join(short, `owner.${number}`), close: () => {} }
  const descriptor = openSync(dir, 'r')
  return {
    of: (number: number) => `/proc/self/fd/${descriptor}/owner.${number}`,
    close: () => closeSync(descriptor)
  }
}

/** Asked twice: between its creation and its listening a socket looks dead. */
async function lives(path: string): Promise<boolean> {
  if (await answers(path)) return true
  await wait(50)
  return answers(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false)
      else reject(error)
    })
  })
}

/** Undefined if another process was faster. */
function listen(path: string) {
  return new Promise<ReturnType<typeof createServer> | undefined>((resolve, reject) => {
    const server = createServer(socket => socket.destroy())
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen(path, () => resolve(server.unref()))
  })
}
