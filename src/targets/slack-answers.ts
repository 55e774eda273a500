import type { ErrorReason, Failure, WireAnswer } from './contract.js'
import { failure, judgeByStatus, retryAfterMs } from './failures.js'

/** The failure that an answer tells, by its code or else by its status; undefined if Slack took the message. */
export function failureOf(answer: WireAnswer, now: number): Failure | undefined {
  const { statusCode } = answer
  const code = codeOf(answer)
  const byStatus = judgeByStatus(answer, 'Slack', now)
  if (byStatus.kind === 'failed' && (code === undefined || statusCode >= 500 || statusCode === 429)) return byStatus
  if (code === undefined) return undefined
  const reason = reasonOf.get(code)
  if (!reason) {
    if (byStatus.kind === 'failed') return byStatus
    return failure('rejected', 'Slack refused the message for a reason that it does not document', {
      type: 'unknown',
      statusCode
    })
  }
  const retry = reason === 'rate_limited' ? { retryAfterMs: retryAfterMs(answer, now) } : {}
  return failure(reason, `Slack answered ${code}`, { statusCode, mayHave: reason === 'server_error', ...retry })
}

/** The Web API says `ok` in so many words; a 200 that does not is somebody else's, such as a proxy's. */
export function apiFailureOf(answer: WireAnswer, now: number): Failure | undefined {
  const failed = failureOf(answer, now)
  if (failed || /"ok"\s*:\s*true/.test(answer.body)) return failed
  const { statusCode } = answer
  return failure('rejected', 'Slack answered without its usual JSON', { type: 'unknown', statusCode, mayHave: true })
}

/** The code of a refusal: `error` of a JSON answer with `ok: false`, or the whole of a text answer that is no 2xx. */
export function codeOf({ body, statusCode }: WireAnswer): string | undefined {
  const text = body.trim()
  if (text.startsWith('{') && /"ok"\s*:\s*false/.test(text)) return fieldIn(text, 'error') ?? ''
  return statusCode >= 300 && /^[a-z_]+$/.test(text) ? text : undefined
}

/** A string field of Slack's JSON, which may be cut off: it repeats the whole message after the fields that matter. */
export function fieldIn(body: string, name: string): string | undefined {
  return new RegExp(`"${name}"\\s*:\\s*"([^"\\\\]+)"`).exec(body)?.[1]
}

// https://docs.slack.dev/reference/methods/chat.postMessage, chat.update (Errors) and
// https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks (Handling errors).
const codes: Partial<Record<ErrorReason, string>> = {
  auth:
    'not_authed invalid_auth account_inactive token_revoked token_expired invalid_token missing_scope no_permission ' +
    'not_allowed_token_type access_denied accesslimited ekm_access_denied enterprise_is_restricted team_access_not_granted ' +
    'two_factor_setup_required action_prohibited posting_to_general_channel_denied restricted_action ' +
    'restricted_action_read_only_channel restricted_action_thread_only_channel',
  not_found:
    'channel_not_found not_in_channel is_archived channel_is_archived team_not_found team_disabled user_not_found ' +
    'messages_tab_disabled no_service no_service_id no_team no_active_hooks',
  rate_limited: 'ratelimited rate_limited message_limit_exceeded',
  server_error:
    'internal_error fatal_error service_unavailable request_timeout team_added_to_org org_login_required ' +
    'external_channel_migrating update_failed rollup_error',
  rejected:
    'msg_too_long msg_blocks_too_long no_text invalid_blocks invalid_blocks_format invalid_attachments invalid_payload ' +
    'attachment_payload_limit_exceeded too_many_attachments invalid_arguments invalid_arg_name invalid_array_arg ' +
    'invalid_charset invalid_form_data invalid_post_type missing_post_type deprecated_endpoint method_deprecated ' +
    'message_not_found thread_not_found cannot_reply_to_message restricted_action_thread_locked ' +
    'restricted_action_non_threadable_channel cant_update_message edit_window_closed is_inactive block_mismatch ' +
    'streaming_state_conflict'
}
const reasonOf = new Map<string, ErrorReason>(
  Object.entries(codes).flatMap(([reason, list]) => list.split(' ').map(code => [code, reason as ErrorReason] as const))
)
