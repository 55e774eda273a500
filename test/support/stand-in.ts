import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** Whatever JSON holds. */
export type Json = ReturnType<typeof JSON.parse>

/** What a stand-in does with one request. `hang`: never answers. `reset`: breaks the connection. */
export type Answer =
  | 'hang'
  | 'reset'
  | { status?: number; body?: string | Buffer; headers?: Record<string, string>; delayMs?: number }

/** A request as it arrived, whole. */
export interface Taken {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly bytes: Buffer
  /** The body as JSON; throws if it is none. */
  json(): Json
}

/** What to answer: always the same, one after the other (the last one stays), or whatever a function says, when it says it. */
export type Script = Answer | readonly Answer[] | ((request: Taken, index: number) => Answer | Promise<Answer>)

export interface StandIn {
  readonly url: string
  /** Every request that came whole, oldest first. */
  readonly requests: Taken[]
  /** Answers differently from now on. */
  answer(script: Script): void
  /** Requests that have no answer yet. */
  open(): number
  /** The most that there ever were of these. */
  mostOpen(): number
  /** Resolves once so many requests have come. */
  got(count: number): Promise<void>
}

/** A real HTTP server on a free loopback port that stands for a vendor, and answers by a script. It ends with the test. */
export async function startStandIn(t: Test, script: Script = {}): Promise<StandIn> {
  const requests: Taken[] = []
  const waiting: { count: number; resolve(): void }[] = []
  let current = script
  let since = 0
  let open = 0
  let mostOpen = 0

  const server = createServer((request, reply) => void serve(request, reply))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    const closed = new Promise(resolve => server.close(resolve))
    server.closeAllConnections()
    await closed
  })

  async function serve(request: IncomingMessage, reply: ServerResponse): Promise<void> {
    open++
    mostOpen = Math.max(mostOpen, open)
    reply.once('close', () => open--)
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk)
    } catch {
      return
    }
    const { method = '', url: path = '', headers } = request
    const bytes = Buffer.concat(chunks)
    const taken: Taken = { method, path, headers, bytes, json: () => JSON.parse(bytes.toString()) }
    requests.push(taken)
    const index = requests.length - 1 - since
    for (const each of waiting) if (requests.length >= each.count) each.resolve()
    const answer = await answerTo(taken, index)
    if (answer === 'hang') return
    if (answer === 'reset') return void request.socket.destroy()
    if (answer.delayMs) await new Promise(resolve => setTimeout(resolve, answer.delayMs))
    reply.writeHead(answer.status ?? 200, answer.headers).end(answer.body ?? '')
  }

  function answerTo(request: Taken, index: number): Answer | Promise<Answer> {
    if (typeof current === 'function') return current(request, index)
    return isList(current) ? (current[Math.min(index, current.length - 1)] ?? {}) : current
  }

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    answer(next) {
      current = next
      since = requests.length
    },
    open: () => open,
    mostOpen: () => mostOpen,
    got: count =>
      requests.length >= count ? Promise.resolve() : new Promise(resolve => waiting.push({ count, resolve }))
  }
}

const isList = (script: Script): script is readonly Answer[] => Array.isArray(script)

/** The URL of a port on which nobody listens. */
export async function nobodyThere(): Promise<string> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return `http://127.0.0.1:${port}`
}

/** An answer that waits until the test gives it. */
export function gate(): { readonly answer: () => Promise<Answer>; open(answer?: Answer): void } {
  let give!: (answer: Answer) => void
  const given = new Promise<Answer>(resolve => {
    give = resolve
  })
  return { answer: () => given, open: (answer = {}) => give(answer) }
}
