import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Problem } from '../schema.js'
import type { TargetSettings } from './settings.js'

const wholePem = 'write the whole PEM text, from -----BEGIN to -----END'

/** What would make every TLS connection of a target fail, or trust nobody. `at` gives a field's name as problems show it. */
export function tlsProblems(
  { ca, cert, key }: NonNullable<TargetSettings['tls']>,
  at: (name: string) => string
): Problem[] {
  const problems: Problem[] = []
  const add = (name: string, message: string, suggestion: string) =>
    problems.push({ field: at(`tls.${name}`), message, suggestion })
  const pem = key?.reveal()
  // A CA that holds none would be passed over in silence, and nobody's certificate be trusted.
  if (ca !== undefined && !holdsCertificates(ca)) add('ca', 'holds no certificate that can be read', wholePem)
  const readable = cert !== undefined && holdsCertificates(cert)
  if (cert !== undefined && !readable) add('cert', 'holds no certificate that can be read', wholePem)
  if (cert !== undefined && pem === undefined) add('key', 'is required beside tls.cert', 'add its private key')
  if (cert === undefined && pem !== undefined) add('cert', 'is required beside tls.key', 'add its certificate')
  if (pem !== undefined && !isPrivateKey(pem))
    add('key', 'is no private key that can be read', `${wholePem}, of a key without a passphrase`)
  else if (readable && pem !== undefined && !new X509Certificate(cert).checkPrivateKey(createPrivateKey(pem)))
    add('key', 'does not belong to tls.cert', 'use the private key of that certificate')
  return problems
}

/** Whether there is a certificate, and none that is cut off: TLS would go without what it cannot read. */
function holdsCertificates(pem: string): boolean {
  const blocks = pem.split(/^(?=-----BEGIN )/m).filter(block => /^-----BEGIN .*CERTIFICATE-----/.test(block))
  return blocks.length > 0 && blocks.every(block => works(() => new X509Certificate(block)))
}

const isPrivateKey = (pem: string): boolean => works(() => createPrivateKey(pem))

function works(read: () => unknown): boolean {
  try {
    read()
    return true
  } catch {
    // What OpenSSL says of it helps nobody, and a part of the text may stand in it.
    return false
  }
}
