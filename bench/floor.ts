// The floor: fans one body out to TARGETS with undici, and nothing else. What a service costs beyond it, it costs for
// checks, formats, health, breakers, metrics, logs, the ledger and the queue.
import { createServer } from 'node:http'
import { Pool } from 'undici'

const url = new URL(process.env.TARGET_URL!)
const headers = { 'content-type': 'application/json' }
const pools = Array.from({ length: Number(process.env.TARGETS) }, () => new Pool(url.origin, { connections: 50 }))

const server = createServer((request, reply) => {
  let text = ''
  request.setEncoding('utf8')
  request.on('data', chunk => {
    text += chunk
  })
  request.on('end', async () => {
    const body = JSON.stringify(JSON.parse(text))
    const codes = await Promise.all(pools.map(pool => post(pool, body)))
    reply.setHeader('content-type', 'application/json')
    reply.end(JSON.stringify({ success_count: codes.filter(code => code < 300).length }))
  })
})
server.listen(Number(process.env.PORT), '127.0.0.1')

async function post(pool: Pool, body: string): Promise<number> {
  const answer = await pool.request({ path: url.pathname, method: 'POST', headers, body })
  await answer.body.dump()
  return answer.statusCode
}
