const prefix = 'whsec_'
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/
/** Standard Webhooks asks for 24; fewer than these could be found by trying. */
const leastBytes = 8

/** The key that an `hmac` secret stands for: the base64 after `whsec_`, else its own bytes. Undefined if it is unusable. */
export function keyOf(secret: string): Buffer | undefined {
  if (!secret.startsWith(prefix)) return Buffer.from(secret)
  const text = secret.slice(prefix.length)
  // Node reads what is no base64 as far as it goes: as a short key, or none, with which anybody could sign.
  const key = base64.test(text) ? Buffer.from(text, 'base64') : undefined
  return key && key.length >= leastBytes ? key : undefined
}
