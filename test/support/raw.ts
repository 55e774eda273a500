import { type ClientRequest, request } from 'node:http'
import type { Reply } from './service.js'

/** A POST under way whose body the test writes itself. `answer` resolves with what came back, or rejects. */
export function openPost(
  url: string,
  headers: Record<string, string | number> = {}
): { readonly request: ClientRequest; readonly answer: Promise<Reply> } {
  const outgoing = request(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers } })
  const answer = new Promise<Reply>((resolve, reject) => {
    outgoing.on('error', reject)
    outgoing.on('response', async reply => {
      let text = ''
      try {
        for await (const chunk of reply.setEncoding('utf8')) text += chunk
      } catch (error) {
        return reject(error)
      }
      const isJson = reply.headers['content-type']?.startsWith('application/json') === true
      resolve({
        status: reply.statusCode ?? 0,
        headers: new Headers(reply.headers as Record<string, string>),
        text,
        body: isJson ? JSON.parse(text) : undefined
      })
    })
  })
  // Who does not wait for the answer does not mind that it fails.
  answer.catch(() => {})
  return { request: outgoing, answer }
}
