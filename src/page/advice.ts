import type { ErrorReason } from '../targets/contract.js'

interface Advice {
  /** The reason in a few words. */
  readonly short: string
  /** What a person can do about it, or that there is nothing to do. */
  readonly advice: string
}

/** What each reason means to somebody who was just woken up. */
export const adviceFor: Readonly<Record<ErrorReason, Advice>> = {
  timeout: {
    short: 'no answer in time',
    advice: 'It is tried again by itself. If it lasts, check whether the target is slow or out of reach from here.'
  },
  dns: {
    short: 'host name not found',
    advice: 'It is tried again by itself. If it lasts, check the target’s URL and this machine’s DNS.'
  },
  connection: {
    short: 'connection failed',
    advice: 'It is tried again by itself. If it lasts, check that the target runs and that no firewall is in the way.'
  },
  tls: {
    short: 'TLS handshake failed',
    advice: 'Check the target’s certificate and its tls settings. What is owed goes out by itself once it works.'
  },
  rate_limited: {
    short: 'rate limited',
    advice: 'Nothing to do: it waits for as long as the target asked, then goes on.'
  },
  server_error: {
    short: 'server error',
    advice: 'Nothing to do: it is tried again by itself. If it lasts, look at the vendor’s own status page.'
  },
  auth: {
    short: 'credential refused',
    advice: 'Renew the credential in the target’s settings. What is owed goes out as soon as they change.'
  },
  not_found: {
    short: 'address not found',
    advice: 'Correct the URL or resource in the target’s settings. What is owed goes out as soon as they change.'
  },
  client_error: {
    short: 'request refused',
    advice: 'Trying again does not help by itself: look at the target’s settings, then replay or discard.'
  },
  rejected: {
    short: 'message refused',
    advice: 'Trying again does not help by itself: look at the target’s settings, then replay or discard.'
  },
  blocked_address: {
    short: 'address forbidden',
    advice: 'Correct the target’s URL, or allow its address with EGRESS_ALLOW, then replay.'
  },
  payload_too_large: {
    short: 'too large',
    advice: 'The target takes no message of this size: shorten the alert’s annotations at their source.'
  },
  target_not_found: {
    short: 'target gone',
    advice: 'Bring the target back under its old name and replay, or discard.'
  },
  queue_full: {
    short: 'queue full',
    advice: 'The target was owed too much, so the least urgent made room. Replay once it takes alerts again.'
  },
  cancelled: {
    short: 'attempt cut short',
    advice: 'A shutdown cut the attempt short. It is tried again by itself.'
  },
  internal: {
    short: 'unexpected answer',
    advice: 'It is tried again by itself. The attempts in the delivery log say more.'
  }
}

/** The advice for a reason that may be none of the set. */
export function adviceOn(reason: string | undefined): Advice | undefined {
  return reason === undefined ? undefined : (adviceFor as Record<string, Advice>)[reason]
}
