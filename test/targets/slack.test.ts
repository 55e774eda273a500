import t from 'tap'
import type { Alert } from '../../src/alert.js'
import type { ErrorReason, ErrorType, Message, WireRequest } from '../../src/targets/contract.js'
import { slackMessage } from '../../src/targets/slack-blocks.js'
import { answerOf, drive, targetOf } from '../support/drive.js'
import { alertOf, messageOf, notificationOf, notificationWith } from '../support/messages.js'

const hook = targetOf({ type: 'slack', url: 'https://hooks.slack.example.com/services/T0/B0/x' })
const bot = targetOf({ type: 'slack', token: 'xoxb-1', channel: '#ops' })

const bodyOf = (request: WireRequest) => JSON.parse(String(request.body))
const posted = (body: string) => JSON.parse(body) as ReturnType<typeof slackMessage>

/** Everything that a person reads of a message, line by line. */
function linesOf(message: Message): string[] {
  const { blocks, attachments } = slackMessage(message)
  const texts = [...blocks, ...attachments.flatMap(attachment => attachment.blocks)].flatMap(block =>
    'elements' in block ? block.elements : [(block as { text: { text: string } }).text]
  )
  return texts.flatMap(({ text }) => text.split('\n'))
}
const lines = (alert: Partial<Alert>, more: Partial<Message> = {}) =>
  linesOf(messageOf({ alerts: [alertOf(alert)], ...more }))

t.test('a notification becomes one message with a headline, the alerts, their links and their origin', async t => {
  const [request, ...more] = hook.wire.requests(messageOf({ notification: notificationOf('mixed-1-resolved-of-3') }))
  t.same(more, [])
  const { body, ...head } = request!
  t.same(head, {
    method: 'POST',
    origin: 'https://hooks.slack.example.com',
    path: '/services/T0/B0/x',
    headers: { 'content-type': 'application/json; charset=utf-8' }
  })
  const { text, blocks, attachments, ...rest } = posted(String(body))
  t.equal(text, '[FIRING:2, RESOLVED:1] NodeCPUHigh prod: CPU above 90% on node-1')
  t.same(blocks, [
    { type: 'header', text: { type: 'plain_text', text: '[FIRING:2, RESOLVED:1] NodeCPUHigh prod', emoji: true } }
  ])
  t.same(rest, { unfurl_links: false, unfurl_media: false })
  t.equal(attachments.length, 1)
  t.equal(attachments[0]!.color, '#FF0000')
  t.same(
    attachments[0]!.blocks.map(block => block.type),
    ['section', 'section', 'section', 'context']
  )
})

t.test('each alert tells its name, severity, state, texts, labels, classification and links', async t => {
  const alert: Partial<Alert> = {
    annotations: {
      summary: 'CPU high',
      description: 'For 10 minutes.\nLook at it.',
      runbook_url: 'https://r.example.com/a|b?x=1&y=<2>',
      dashboard_url: 'https://d.example.com/',
      team: 'ops'
    },
    generator_url: 'http://p.example.com/graph',
    classification: {
      severity: 'warning',
      confidence: 0.9,
      reasoning: 'Seen before',
      recommendations: ['Wait', 'Look']
    },
    enrichment: { owner: { team: 'ops' } }
  }
  t.same(lines(alert), [
    '[FIRING:1] NodeCPUHigh',
    '*NodeCPUHigh* · warning · firing since <!date^1795198650^{date_short_pretty} {time_secs}|2026-11-20T18:17:30.860Z>',
    'CPU high',
    'For 10 minutes.',
    'Look at it.',
    'team: ops',
    '`instance=node-1:9100` `namespace=prod` `severity=critical`',
    'Classified warning, confidence 0.9: Seen before',
    '• Wait',
    '• Look',
    '`{"owner":{"team":"ops"}}`',
    '<https://r.example.com/a%7Cb?x=1&amp;y=%3C2%3E|Runbook> · <https://d.example.com/|Dashboard> · <http://p.example.com/graph|Source>'
  ])
})

t.test('a name of blanks is none', async t => {
  for (const alert_name of ['', ' ', '\n\t\u00a0']) {
    const told = lines({ alert_name })
    t.equal(told[0], '[FIRING:1] Alert without a name')
    t.match(told[1], /^\*Alert without a name\* · critical · firing since /)
  }
})

t.test('no text of an alert can mention anyone, link anywhere or end a code span', async t => {
  const text = '<!channel> @here <https://evil.example.com|click> & `code`'
  const message = messageOf({
    notification: {
      ...notificationWith([
        alertOf({
          alert_name: text,
          labels: { alertname: text, severity: text, [text]: text },
          annotations: {
            summary: text,
            description: text,
            [text]: text,
            runbook_url: 'javascript:alert(1)',
            dashboard_url: text
          },
          classification: { severity: 'info', reasoning: text, recommendations: [text] },
          enrichment: { [text]: text }
        })
      ]),
      receiver: text,
      group_labels: { alertname: text, job: text },
      external_url: text
    }
  })
  const all = JSON.stringify(slackMessage(message))
  t.same(all.match(/<[^>]*>/g), ['<!date^1795198650^{date_short_pretty} {time_secs}|2026-11-20T18:17:30.860Z>'])
  t.notMatch(all, /\|click>|&(?!amp;|lt;|gt;)/)
  for (const { blocks } of slackMessage(message).attachments) {
    for (const block of blocks) {
      for (const object of 'elements' in block ? block.elements : [block.text]) t.equal(object.verbatim, true)
    }
  }
})

t.test('the colour is that of the worst alert that fires', async t => {
  const colour = (...alerts: Partial<Alert>[]) =>
    slackMessage(messageOf({ alerts: alerts.map(alertOf) })).attachments[0]!.color
  const severity = (severity: string, status: Alert['status'] = 'firing') => ({ status, labels: { severity } })
  t.equal(colour(severity('critical')), '#FF0000')
  t.equal(colour(severity('info'), severity('warning'), severity('critical', 'resolved')), '#FFA500')
  t.equal(colour(severity('info')), '#36A64F')
  t.equal(colour(severity('noise')), '#808080')
  t.equal(colour(severity('page')), '#FFA500', 'an unknown one is worth a look')
  t.equal(colour(severity('critical', 'resolved')), '#36A64F')
  t.equal(colour(severity('info'), severity('page')), '#FFA500', 'not one to be hidden by a known one')
  t.equal(colour(severity('info'), { labels: {} }), '#FFA500', 'nor is one that says nothing')
  t.equal(colour(severity('page'), severity('Critical')), '#FF0000')
  t.equal(colour({ ...severity('critical'), classification: { severity: 'noise' } }), '#808080')
  for (const hostile of ['__proto__', 'constructor', 'toString']) t.equal(colour(severity(hostile)), '#FFA500', hostile)
})

t.test('ten alerts are told in full, the most urgent first, and the others are counted', async t => {
  const storm = notificationOf('storm-120')
  const resolved = { ...storm.alerts[0]!, status: 'resolved' as const }
  const mild = { ...storm.alerts[1]!, labels: { ...storm.alerts[1]!.labels, severity: 'info' } }
  const alerts = [resolved, mild, ...storm.alerts.slice(2)]
  const told = linesOf(messageOf({ notification: { ...storm, truncated_alerts: 7, alerts } }))
  t.equal(told[0], '[FIRING:119, RESOLVED:1] TargetDown storm')
  const titles = told.filter(line => line.startsWith('*TargetDown*'))
  t.equal(titles.length, 10)
  t.ok(titles.every(line => line.includes(' · critical · firing')))
  t.same(told.slice(-4), [
    '+110 more',
    '+7 left out by Alertmanager',
    '<http://vm:9093/#/alerts?receiver=fan.out-team|Alertmanager>',
    'receiver fan.out-team'
  ])
})

t.test('an alert of a severity that nobody knows is not hidden among mild ones', async t => {
  const mild = notificationOf('storm-120').alerts.map(alert => ({ ...alert, labels: { severity: 'info' } }))
  const odd = [alertOf({ labels: { severity: 'P1' } }), alertOf({ labels: { severity: 'Critical' } })]
  const told = linesOf(messageOf({ alerts: [...mild, ...odd] })).filter(line => line.includes(' · firing since '))
  t.same(
    told.slice(0, 3).map(line => line.split(' · ')[1]),
    ['Critical', 'P1', 'info']
  )
})

t.test('a reader is told that a message is late, and that it is over already', async t => {
  const told = lines({ status: 'resolved', ends_at: 'soon' }, { lateByMs: 720_000, firedAndResolved: true })
  t.same(told.slice(0, 4), [
    '[FIRED AND RESOLVED] NodeCPUHigh',
    'fired and resolved before this message could be sent',
    'late by 12 min',
    '*NodeCPUHigh* · critical · resolved soon'
  ])
})

t.test("texts are cut to Slack's limits, the annotations first, and each cut is counted", async t => {
  const cases: [Partial<Alert>, string[]][] = [
    [{ annotations: { description: '&😀'.repeat(50_000) } }, ['annotations', 'text']],
    [{ labels: { alertname: 'A', big: 'x'.repeat(50_000) } }, ['labels']],
    [{ alert_name: '<'.repeat(50_000) }, ['alert_name', 'header', 'text']],
    [{ labels: { alertname: 'A', severity: 's'.repeat(100) } }, ['severity']],
    [{ classification: { severity: 'info', reasoning: 'r'.repeat(50_000) } }, ['classification']],
    [{ enrichment: { big: 'e'.repeat(50_000) } }, ['enrichment']],
    [{ generator_url: `https://p.example.com/${'x'.repeat(1_900)}` }, ['links']],
    [{ annotations: { summary: 'short' } }, []]
  ]
  for (const [alert, expected] of cases) {
    for (const count of [1, 10, 200]) {
      const cut = new Set<string>()
      const alerts = Array.from({ length: count }, (_, index) => alertOf({ ...alert, fingerprint: `${index}` }))
      const body = slackMessage(messageOf({ alerts, truncated: field => cut.add(field) }))
      if (expected[0] !== 'links' || count > 1) t.same([...cut].sort(), expected, `${count} alerts`)
      const all = body.attachments[0]!.blocks
      t.ok([...body.text].length <= 4_000 && [...body.blocks[0]!.text.text].length <= 150)
      t.ok(all.length < 50)
      const texts = all
        .flatMap(block => ('elements' in block ? block.elements : [block.text]))
        .map(object => [...object.text].length)
      t.ok(Math.max(...texts) <= 3_000, `${Math.max(...texts)} characters in one text`)
      t.ok(texts.reduce((sum, length) => sum + length) < 10_000)
    }
  }
})

t.test('a link that is too long once it is encoded is left out, and counted', async t => {
  const told = (external_url: string) => {
    const cut: string[] = []
    const notification = { ...notificationOf('firing-1'), external_url, receiver: 'ops' }
    const { attachments } = slackMessage(messageOf({ notification, truncated: field => cut.push(field) }))
    const origin = attachments[0]!.blocks.at(-1) as { elements: { text: string }[] }
    return { texts: origin.elements.map(({ text }) => text), cut }
  }
  for (const long of ['日'.repeat(1_500), `?${'&'.repeat(1_500)}`]) {
    t.same(told(`https://am.example.com/${long}`), { texts: ['receiver ops'], cut: ['links'] })
  }
  const { texts, cut } = told(`https://am.example.com/${'日'.repeat(100)}`)
  t.match(texts[0], /^<https:\/\/am\.example\.com\/(%E6%97%A5){100}\/#\/alerts\?receiver=ops\|Alertmanager>$/)
  t.same(cut, [])
})

t.test('a cut leaves neither half an entity nor an open code span', async t => {
  for (let pad = 0; pad < 6; pad++) {
    const annotations = { summary: `${'x'.repeat(pad)}${'&<>'.repeat(5_000)}` }
    const told = lines({ annotations, labels: { a: 'y'.repeat(9_000), b: 'z' } })
    t.match(told[2], /(&amp;|&lt;|&gt;)…$/)
    t.match(told[3], /^`a=y+…`$/)
  }
})

t.test('an incoming webhook is read by its status and by its documented codes', async t => {
  const cases: [number, string, ErrorType, ErrorReason, string][] = [
    [400, 'invalid_payload', 'permanent', 'rejected', 'Slack answered invalid_payload'],
    [400, 'channel_not_found', 'configuration', 'not_found', 'Slack answered channel_not_found'],
    [400, 'secret_of_theirs', 'permanent', 'client_error', 'Slack answered 400'],
    [403, 'action_prohibited', 'configuration', 'auth', 'Slack answered action_prohibited'],
    [404, 'no_service', 'configuration', 'not_found', 'Slack answered no_service'],
    [410, 'channel_is_archived', 'configuration', 'not_found', 'Slack answered channel_is_archived'],
    [429, 'rate_limited', 'rate_limited', 'rate_limited', 'Slack answered 429'],
    [500, 'rollup_error', 'transient', 'server_error', 'Slack answered 500'],
    [502, '<html>', 'transient', 'server_error', 'Slack answered 502']
  ]
  for (const [status, body, type, reason, message] of cases) {
    const { outcome } = await drive(hook, messageOf(), () => answerOf(status, body))
    t.match(outcome, { kind: 'failed', type, reason, message, statusCode: status }, `${status} ${body}`)
  }
  t.equal((await drive(hook, messageOf(), () => answerOf(200, 'ok'))).outcome, 'delivered')
})

const ok = (ts: string) =>
  answerOf(200, { ok: true, channel: 'C1', ts, message: { text: 'x'.repeat(9_000), ts: 'other' } })
const thread = { ts: '1.1', channel: 'C1', posted_to: '#ops' }
const resolved = notificationOf('resolved-2')

t.test('chat.postMessage refusals are failures, classed by their code', async t => {
  const cases: [string, ErrorType, ErrorReason][] = [
    ['ratelimited', 'rate_limited', 'rate_limited'],
    ['message_limit_exceeded', 'rate_limited', 'rate_limited'],
    ['invalid_auth', 'configuration', 'auth'],
    ['token_revoked', 'configuration', 'auth'],
    ['account_inactive', 'configuration', 'auth'],
    ['missing_scope', 'configuration', 'auth'],
    ['channel_not_found', 'configuration', 'not_found'],
    ['not_in_channel', 'configuration', 'not_found'],
    ['is_archived', 'configuration', 'not_found'],
    ['internal_error', 'transient', 'server_error'],
    ['fatal_error', 'transient', 'server_error'],
    ['service_unavailable', 'transient', 'server_error'],
    ['msg_too_long', 'permanent', 'rejected'],
    ['invalid_blocks', 'permanent', 'rejected'],
    ['no_text', 'permanent', 'rejected']
  ]
  for (const [error, type, reason] of cases) {
    const { outcome } = await drive(bot, messageOf(), () =>
      answerOf(200, { ok: false, error }, { 'retry-after': '30' })
    )
    const retryAfterMs = reason === 'rate_limited' ? 30_000 : undefined
    t.match(outcome, { kind: 'failed', type, reason, message: `Slack answered ${error}`, retryAfterMs }, error)
  }
  const odd = await drive(bot, messageOf(), () => answerOf(200, { ok: false, error: 'xoxb_leak' }))
  t.match(odd.outcome, { type: 'unknown', reason: 'rejected', message: /^Slack refused the message for a reason/ })
  const page = await drive(bot, messageOf(), () => answerOf(200, '<html>log in</html>'))
  t.match(page.outcome, { type: 'unknown', reason: 'rejected', mayHave: true })
})

t.test('the first notification of a group posts, and its place is remembered', async t => {
  const { sent, outcome, memory } = await drive(bot, messageOf(), () => ok('1.1'))
  const [request] = sent
  t.match(request, {
    origin: 'https://slack.com',
    path: '/api/chat.postMessage',
    headers: { authorization: 'Bearer xoxb-1', 'content-type': 'application/json; charset=utf-8' }
  })
  t.same(bodyOf(request!), { channel: '#ops', ...slackMessage(messageOf()) })
  t.same({ outcome, memory }, { outcome: 'delivered', memory: thread })
})

t.test('later ones reply in its thread', async t => {
  const { sent, outcome, memory } = await drive(bot, messageOf({ memory: thread }), () => ok('2.2'))
  t.same(sent.map(bodyOf), [{ channel: 'C1', thread_ts: '1.1', ...slackMessage(messageOf()) }])
  t.same({ outcome, memory }, { outcome: 'delivered', memory: undefined }, 'what is remembered stays')
})

t.test('a resolve edits the first post, then replies, and the group starts anew', async t => {
  const message = messageOf({ notification: resolved, memory: thread })
  const { sent, outcome, memory } = await drive(bot, message, () => ok('1.1'))
  t.same(
    sent.map(request => [request.path, bodyOf(request)]),
    [
      ['/api/chat.update', { channel: 'C1', ts: '1.1', parse: 'none', ...slackMessage(message) }],
      ['/api/chat.postMessage', { channel: 'C1', thread_ts: '1.1', ...slackMessage(message) }]
    ]
  )
  t.same({ outcome, memory }, { outcome: 'delivered', memory: {} })
})

t.test('a group of which Alertmanager left some out is not told as resolved', async t => {
  const notification = { ...resolved, truncated_alerts: 5 }
  const message = messageOf({ notification, memory: thread })
  const { sent, memory } = await drive(bot, message, () => ok('2.2'))
  t.same(
    sent.map(request => [request.path, bodyOf(request).thread_ts]),
    [['/api/chat.postMessage', '1.1']],
    'the first post is not edited'
  )
  t.equal(memory, undefined, 'the thread goes on')
  t.equal(linesOf(message)[0], '[RESOLVED:2, NOT LISTED:5] NodeCPUHigh prod')
  t.ok(linesOf(message).includes('+5 left out by Alertmanager'))
  t.equal(slackMessage(message).attachments[0]!.color, '#FF0000')
  t.match(linesOf({ ...message, firedAndResolved: true })[0], /^\[FIRED AND RESOLVED, NOT LISTED:5\]/)
})

t.test('an edit that fails for now is tried again before anything is posted', async t => {
  const { sent, outcome } = await drive(bot, messageOf({ notification: resolved, memory: thread }), () => answerOf(503))
  t.equal(sent.length, 1)
  t.match(outcome, { type: 'transient', statusCode: 503 })
})

t.test('an edit that can never be made leaves the reply', async t => {
  const message = messageOf({ notification: resolved, memory: thread })
  const { sent, outcome } = await drive(bot, message, request =>
    request.path.endsWith('chat.update') ? answerOf(200, { ok: false, error: 'edit_window_closed' }) : ok('2.2')
  )
  t.same(
    sent.map(request => [request.path, bodyOf(request).thread_ts]),
    [
      ['/api/chat.update', undefined],
      ['/api/chat.postMessage', '1.1']
    ]
  )
  t.equal(outcome, 'delivered')
})

t.test('a first post that is gone makes a new one', async t => {
  for (const error of ['message_not_found', 'thread_not_found', 'cannot_reply_to_message']) {
    for (const notification of [notificationOf('firing-1'), resolved]) {
      const { sent, outcome, memory } = await drive(bot, messageOf({ notification, memory: thread }), request =>
        request.path.endsWith('chat.update') || bodyOf(request).thread_ts
          ? answerOf(200, { ok: false, error })
          : ok('3.3')
      )
      t.equal(sent.length, 2)
      t.match(bodyOf(sent[1]!), { channel: '#ops', thread_ts: undefined })
      t.same(
        { outcome, memory },
        { outcome: 'delivered', memory: notification === resolved ? {} : { ...thread, ts: '3.3' } }
      )
    }
  }
})

t.test('a thread in a channel that the settings no longer name is left alone', async t => {
  const [request] = bot.wire.requests(messageOf({ memory: { ...thread, posted_to: '#old' } }))
  t.match(bodyOf(request!), { channel: '#ops', thread_ts: undefined })
})

t.test('url, token and channel: what needs each other is asked for', async t => {
  const problems = (own: object) => {
    try {
      targetOf({ type: 'slack', ...own })
      return []
    } catch (error) {
      return JSON.parse((error as Error).message).map((problem: { field: string }) => problem.field)
    }
  }
  t.same(problems({}), ['url'])
  t.same(problems({ token: 'x' }), ['channel'])
  t.same(problems({ url: 'https://hooks.example.com/x', channel: '#ops' }), ['token'])
  t.same(problems({ token: 'x', channel: '#ops' }), [])
})

t.test('the API may be somewhere else', async t => {
  const target = targetOf({ type: 'slack', token: 'x', channel: '#ops', url: 'http://127.0.0.1:8080/slack/' })
  t.match(target.wire.requests(messageOf())[0], {
    origin: 'http://127.0.0.1:8080',
    path: '/slack/api/chat.postMessage'
  })
})
