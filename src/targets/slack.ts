import Type, { type Static } from 'typebox'
import { type Problem, SecretText } from '../schema.js'
import { addressOf, fieldOf, urlProblems } from './address.js'
import type { Memory, Message, TargetKind, Verdict, WireAnswer, WireRequest } from './contract.js'
import { groupStatusOf } from './incident.js'
import { settingsOf } from './settings.js'
import { apiFailureOf, codeOf, failureOf, fieldIn } from './slack-answers.js'
import { slackMessage } from './slack-blocks.js'
import { json } from './text.js'

const schema = settingsOf(
  'slack',
  {
    url: Type.Optional(
      SecretText({ description: 'the incoming webhook; with a token, the origin instead of https://slack.com' })
    ),
    token: Type.Optional(
      SecretText({ description: 'a bot token with the scope chat:write; posts by chat.postMessage' })
    ),
    channel: Type.Optional(Type.String({ minLength: 1, description: 'channel ID or name; needs token' }))
  },
  [
    { name: 'slack-hook', type: 'slack', url: 'https://hooks.slack.example.com/services/T000/B000/example' },
    {
      name: 'slack-bot',
      type: 'slack',
      token: 'xoxb-example-token',
      channel: 'C0123456789',
      url: 'https://slack.example.com'
    }
  ]
)
type Settings = Static<typeof schema>

/** Slack, by an incoming webhook or, with a token, by chat.postMessage with one thread for each group of alerts. */
export const slack: TargetKind<Settings> = {
  type: 'slack',
  title: 'Slack',
  schema,
  // https://docs.slack.dev/apis/web-api/rate-limits: one message a second and channel, short bursts allowed.
  defaults: { rateLimit: { requests: 1, perMs: 1_000, burst: 3 }, maxConcurrent: 3 },
  audience: 'chat',
  reachesPeople: true,
  lane: () => 'group',
  answers: [
    { statusCode: 200, body: '{"ok":true,"channel":"C0123456789","ts":"1700000000.000100"}', means: 'delivered' },
    { statusCode: 200, body: '{"ok":false,"error":"ratelimited"}', means: 'rate_limited' },
    { statusCode: 200, body: '{"ok":false,"error":"token_revoked"}', means: 'auth' },
    { statusCode: 200, body: '{"ok":false,"error":"channel_not_found"}', means: 'not_found' },
    { statusCode: 200, body: '{"ok":false,"error":"internal_error"}', means: 'server_error' },
    { statusCode: 200, body: '{"ok":false,"error":"msg_too_long"}', means: 'rejected' },
    { statusCode: 200, body: '{"ok":false,"error":"something_new"}', means: 'rejected' },
    { statusCode: 400, body: 'invalid_payload', means: 'rejected' },
    { statusCode: 403, body: 'action_prohibited', means: 'auth' },
    { statusCode: 404, body: 'no_service', means: 'not_found' },
    { statusCode: 410, body: 'channel_is_archived', means: 'not_found' },
    { statusCode: 500, body: 'rollup_error', means: 'server_error' }
  ],
  check,
  open(settings) {
    const { token, channel } = settings
    if (token && channel) return openApi(settings.url?.reveal() ?? 'https://slack.com', token.reveal(), channel)
    const { origin, path } = addressOf(settings.url!)
    const headers = { 'content-type': contentType }
    return {
      origins: [origin],
      requests: message => [{ method: 'POST', origin, path, headers, body: json(slackMessage(message)) }],
      answer: (answer, message) => failureOf(answer, message.now) ?? { kind: 'delivered' }
    }
  }
}

// Without the charset the Web API answers each call with a warning.
const contentType = 'application/json; charset=utf-8'

function check({ url, token, channel }: Settings, root: string): Problem[] {
  const problems = url ? urlProblems(url, fieldOf(root, 'url')) : []
  const missing = (name: string, suggestion: string) =>
    problems.push({ field: fieldOf(root, name), message: 'is required', suggestion })
  if (token && !channel) missing('channel', 'add the channel to which the token posts')
  if (channel && !token) missing('token', 'add a bot token, or remove channel: an incoming webhook has its own')
  if (!url && !token) missing('url', 'add the incoming webhook URL, or token and channel')
  return problems
}

/** One call of the Web API, and what it is for. */
interface Call extends WireRequest {
  readonly purpose: 'post' | 'reply' | 'edit'
}

function openApi(url: string, token: string, channel: string) {
  const { origin, under } = addressOf(url)
  const headers = { 'content-type': contentType, authorization: `Bearer ${token}` }
  const call = (purpose: Call['purpose'], method: string, body: object): Call => ({
    purpose,
    method: 'POST',
    origin,
    path: under(`/api/${method}`),
    headers,
    body: json(body)
  })
  const post = (message: Message) => call('post', 'chat.postMessage', { channel, ...slackMessage(message) })
  const reply = (message: Message, thread: Thread) =>
    call('reply', 'chat.postMessage', { channel: thread.channel, thread_ts: thread.ts, ...slackMessage(message) })
  // An edit's own default would turn `@here` into a mention.
  const edit = (message: Message, thread: Thread) =>
    call('edit', 'chat.update', { channel: thread.channel, ts: thread.ts, parse: 'none', ...slackMessage(message) })

  return {
    origins: [origin],
    requests(message: Message): WireRequest[] {
      const thread = threadOf(message.memory, channel)
      if (!thread) return [post(message)]
      if (groupStatusOf(message) === 'firing') return [reply(message, thread)]
      // The edit goes first: it may be repeated, a reply may not.
      return [edit(message, thread), reply(message, thread)]
    },
    answer(answer: WireAnswer, message: Message, request: WireRequest): Verdict {
      const { purpose } = request as Call
      const failed = apiFailureOf(answer, message.now)
      if (failed) {
        const code = codeOf(answer) ?? ''
        const thread = threadOf(message.memory, channel)
        if (purpose !== 'post' && goneThread.has(code)) return { kind: 'instead', requests: [post(message)] }
        if (purpose === 'edit' && thread && noEdit.has(code))
          return { kind: 'instead', requests: [reply(message, thread)] }
        return failed
      }
      if (purpose === 'edit') return { kind: 'delivered' }
      // A group that is over starts anew when it fires again.
      if (groupStatusOf(message) === 'resolved') return { kind: 'delivered', memory: {} }
      if (purpose === 'reply') return { kind: 'delivered' }
      const ts = fieldIn(answer.body, 'ts')
      const where = fieldIn(answer.body, 'channel')
      return { kind: 'delivered', ...(ts && where ? { memory: { ts, channel: where, posted_to: channel } } : {}) }
    }
  }
}

interface Thread {
  readonly ts: string
  readonly channel: string
}

/** The group's first post, if there is one in the channel that the settings name now. */
function threadOf({ ts, channel, posted_to }: Memory, now: string): Thread | undefined {
  return ts && channel && posted_to === now ? { ts, channel } : undefined
}

/** The first post can never be edited; its thread still takes a reply. */
const noEdit = new Set([
  'cant_update_message',
  'edit_window_closed',
  'is_inactive',
  'block_mismatch',
  'streaming_state_conflict'
])

/** The first post is gone or takes no reply; its channel still takes a post. */
const goneThread = new Set([
  'message_not_found',
  'thread_not_found',
  'cannot_reply_to_message',
  'restricted_action_thread_locked',
  'restricted_action_non_threadable_channel'
])
