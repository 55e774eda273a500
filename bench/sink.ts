// Every target of a run, in one process, with as little HTTP as undici needs so that it takes little from the load. The
// path says how it behaves: /20 answers after 20 ms, /hang never, /timed/0 notes how long ago the alert was sent, which
// its fingerprint says, and /kept/0 asks for its connection to be kept for ten minutes. A query may say it as well.
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { serve } from './asking.js'
import { figuresOf } from './figures.js'

const answer =
  'HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{"status":"success"}'
const keepingAnswer = answer.replace('\r\n\r\n', '\r\nkeep-alive: timeout=600\r\n\r\n')
const label = '"fingerprint":"'
let tookMs: number[] = []

const server = createServer({ noDelay: true }, socket => {
  let text = ''
  // Latin-1, so that characters are bytes and content-length counts them.
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
    const head = text.indexOf('\r\n\r\n')
    if (head < 0) return
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
    if (text.length < head + 4 + length) return
    take(socket, text)
    text = ''
  })
  socket.on('error', () => {})
})

function take(socket: Socket, request: string): void {
  const path = request.slice(request.indexOf(' ') + 1, request.indexOf(' HTTP/'))
  if (path.startsWith('/timed/')) note(request)
  const delayMs = Number(path.slice(path.lastIndexOf('/') + 1))
  if (delayMs === 0) socket.write(path.includes('/kept/') ? keepingAnswer : answer)
  else if (delayMs > 0) setTimeout(() => socket.write(answer), delayMs)
}

function note(request: string): void {
  const start = request.indexOf(label) + label.length
  const sentAtNs = BigInt(`0x${request.slice(start, start + 16)}`)
  tookMs.push(Number(process.hrtime.bigint() - sentAtNs) / 1e6)
}

serve({
  async listen() {
    server.listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    return (server.address() as AddressInfo).port
  },
  async timed() {
    const figures = figuresOf(tookMs)
    tookMs = []
    return figures
  }
})
