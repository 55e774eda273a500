// The main job, end to end, on this machine alone: `npm run demo`.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import { readConfig } from '../src/config.js'
import type { PublishResult } from '../src/pipeline/result.js'
import { startService } from '../src/service.js'

/** A stand-in for a vendor: answers as it does, and counts what it took. */
async function standIn(answer: () => { status: number; body: string }) {
  const took: string[] = []
  const server = createServer((request, reply) => {
    let body = ''
    request.setEncoding('utf8').on('data', chunk => (body += chunk))
    request.on('end', () => {
      const { status, body: text } = answer()
      if (status < 300) took.push(body)
      reply.writeHead(status, { 'content-type': 'application/json' }).end(text)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, took, close: () => server.close() }
}

const say = (line = ''): boolean => process.stdout.write(`${line}\n`)
const work = mkdtempSync(path.join(tmpdir(), 'alert-fanout-demo-'))
let webhookIsDown = true

const slack = await standIn(() => ({ status: 200, body: 'ok' }))
const pagerduty = await standIn(() => ({ status: 202, body: '{"status":"success"}' }))
const alertmanager = await standIn(() => ({ status: 200, body: '' }))
const webhook = await standIn(() =>
  webhookIsDown ? { status: 503, body: 'down for maintenance' } : { status: 200, body: '' }
)

writeFileSync(
  path.join(work, 'targets.yaml'),
  `targets:
  - { name: slack-ops, type: slack, url: "${slack.url}/services/T000/B000/secret" }
  - { name: pagerduty-oncall, type: pagerduty, url: "${pagerduty.url}", routing_key: demo-routing-key }
  - { name: central-alertmanager, type: alertmanager, url: "${alertmanager.url}" }
  - { name: ticket-hook, type: webhook, url: "${webhook.url}/alerts" }
`
)
const reading = readConfig({
  HOST: '127.0.0.1',
  PORT: '0',
  DISCOVERY: 'file',
  TARGETS_FILE: path.join(work, 'targets.yaml'),
  QUEUE_DIR: path.join(work, 'data'),
  RETRY_BASE: '500ms'
})
if (!reading.ok) throw new Error(JSON.stringify(reading.problems))
const service = await startService(reading.value, { log: pino({ level: 'silent' }), targetsFileNamed: true })

try {
  const notification = readFileSync(new URL('../test/fixtures/alertmanager/firing-1.json', import.meta.url), 'utf8')
  say(
    `alert-fanout listens on ${service.url}; Alertmanager posts one firing alert to four targets, one of which is down:`
  )
  say()
  const answer = await fetch(`${service.url}/api/v1/publish/parallel/all`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'user-agent': 'Alertmanager/0.25.0' },
    body: notification
  })
  const result = (await answer.json()) as PublishResult
  say(
    `HTTP ${answer.status}: ${result.success_count} of ${result.total_targets} have it, ${result.queued_count} owed, in ${result.duration_ms} ms`
  )
  for (const each of result.results) {
    const outcome = each.success
      ? `delivered (${each.status_code})`
      : each.queued
        ? `${each.error}: kept, and retried until it is delivered`
        : `${each.error}`
    say(`  ${each.target_name.padEnd(22)} ${outcome}`)
  }
  say()
  const again = await fetch(`${service.url}/api/v1/publish/parallel/all`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: notification
  })
  const second = (await again.json()) as PublishResult
  const sentTwice = slack.took.length + pagerduty.took.length + alertmanager.took.length - 3
  say(
    `The same notification again, as an HA twin would post it: HTTP ${again.status}, ${second.results.filter(each => each.deduplicated).length} known, ${sentTwice} sent twice`
  )
  say()
  say('ticket-hook comes back…')
  webhookIsDown = false
  for (let waited = 0; webhook.took.length === 0 && waited < 15_000; waited += 50)
    await new Promise(resolve => setTimeout(resolve, 50))
  say(
    webhook.took.length === 1
      ? '  and gets what it was owed: every target has the alert exactly once.'
      : '  but did not get what it was owed.'
  )
  process.exitCode = webhook.took.length === 1 && answer.status === 207 && sentTwice === 0 ? 0 : 1
} finally {
  await service.stop()
  for (const each of [slack, pagerduty, alertmanager, webhook]) each.close()
  rmSync(work, { recursive: true, force: true })
}
