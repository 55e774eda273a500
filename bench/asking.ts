import type { ChildProcess } from 'node:child_process'

type Handlers = Readonly<Record<string, (input: never) => Promise<unknown>>>
let lastId = 0

/** Asks a process that answers to `serve` or has the probe. Rejects if it ends before it answers. */
export function ask<Reply>(child: ChildProcess, what: string, input?: unknown): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const id = ++lastId
    const ended = () => reject(new Error(`a process ended before it answered “${what}”`))
    const heard = (message: { id: number; reply: Reply }) => {
      if (message.id !== id) return
      child.off('message', heard).off('exit', ended)
      resolve(message.reply)
    }
    child.on('message', heard).once('exit', ended)
    child.send({ id, ask: what, input }, error => error && reject(error))
  })
}

/** Answers what the process that started this one asks; `cpuUs`, the CPU it has used in microseconds, besides. */
export function serve(handlers: Handlers): void {
  process.on('message', async ({ id, ask, input }: { id: number; ask: string; input: never }) => {
    process.send!({ id, reply: ask === 'cpuUs' ? cpuUs() : await handlers[ask]!(input) })
  })
  process.on('disconnect', () => process.exit())
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}
