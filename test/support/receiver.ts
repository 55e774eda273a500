import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse
} from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import { type AddressInfo, createServer as createRawServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** One request as it arrived, whole. */
export interface Received {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
}

export interface Receiver {
  readonly origin: string
  readonly port: number
  /** Every request whose body has arrived, oldest first. */
  readonly received: Received[]
  /** How many connections were ever made to it. */
  connections(): number
  /** How many are open now. */
  open(): number
}

type Answer = (response: ServerResponse, request: Received) => void
const ok: Answer = response => response.end('ok')

/** An HTTP server on a free port, for as long as the test runs; over TLS if `tls` is given. */
export async function receive(t: Test, answer: Answer = ok, tls?: ServerOptions): Promise<Receiver> {
  const received: Received[] = []
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url = '', headers, rawHeaders } = request
      const whole = { method, url, headers, rawHeaders, body: Buffer.concat(chunks) }
      received.push(whole)
      answer(response, whole)
    })
  }
  const server = tls ? createTlsServer(tls, handle) : createServer(handle)
  const { port, connections, open } = await listen(t, server)
  return { origin: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`, port, received, connections, open }
}

/** A TCP server on a free port that does what it likes with each connection. */
export async function receiveRaw(t: Test, talk: (socket: Socket) => void): Promise<Omit<Receiver, 'received'>> {
  const { port, connections, open } = await listen(t, createRawServer(talk))
  return { origin: `http://127.0.0.1:${port}`, port, connections, open }
}

/** A port of the loopback that nobody listens on. */
export async function unusedPort(): Promise<number> {
  const server = createRawServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

async function listen(t: Test, server: Server | ReturnType<typeof createRawServer>) {
  const sockets = new Set<Socket>()
  let connections = 0
  server.on('connection', (socket: Socket) => {
    connections++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { port, connections: () => connections, open: () => sockets.size }
}
