import type { Socket } from 'node:net'
import { errorBody } from './errors.js'

/** What Node itself refuses before there is a request, by the code of its error. */
const refusals: Readonly<Record<string, readonly [status: number, error: string, message: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout', 'the request did not arrive in time'],
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large', 'the headers are too large']
}
const unreadable = [400, 'Bad Request', 'this is not a valid HTTP/1.1 request'] as const

/** Answers in the form that all errors have where Node could not read a request, and ends the connection. */
export function refuseConnection({ code = '' }: NodeJS.ErrnoException, socket: Socket): void {
  if (code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const [statusCode, error, message] = refusals[code] ?? unreadable
  const body = JSON.stringify({ ...errorBody('INVALID_INPUT', message), statusCode, error })
  const head = [
    `HTTP/1.1 ${statusCode} ${error}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close'
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}
