import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { readTarget } from '../../src/targets/target.js'

const pem = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'utf8')
const [cert, expired, key] = ['server.crt', 'expired.crt', 'server.key'].map(pem) as [string, string, string]
const privateKeyOf = (more: object = {}) =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({ type: 'pkcs8', format: 'pem', ...more })
    .toString()
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
const locked = privateKeyOf({ cipher: 'aes-256-cbc', passphrase: 'topsecret' })

const read = (tls: object, root?: string) =>
  readTarget({ name: 'a', type: 'webhook', url: 'https://a.test/', tls }, undefined, root)

const noCertificate = 'holds no certificate that can be read'
const noKey = 'is no private key that can be read'
const another = 'tls.key does not belong to tls.cert'

const bad: [what: string, tls: object, problems: string[]][] = [
  ['a CA that is none', { ca: 'topsecret' }, [`tls.ca ${noCertificate}`]],
  ['a CA that is empty', { ca: '' }, [`tls.ca ${noCertificate}`]],
  ['a CA that is cut off', { ca: cert.slice(0, 300) }, [`tls.ca ${noCertificate}`]],
  ['a CA whose second certificate is cut off', { ca: cert + expired.slice(0, 300) }, [`tls.ca ${noCertificate}`]],
  ['a CA whose lines are indented', { ca: cert.replace(/^/gm, '  ') }, [`tls.ca ${noCertificate}`]],
  ['a CA that is a key', { ca: key }, [`tls.ca ${noCertificate}`]],
  ['a certificate that is none', { cert: 'topsecret', key }, [`tls.cert ${noCertificate}`]],
  ['a certificate that is cut off', { cert: cert.slice(0, 300), key }, [`tls.cert ${noCertificate}`]],
  ['a key that is none', { cert, key: 'topsecret' }, [`tls.key ${noKey}`]],
  ['a key that is cut off', { cert, key: key.slice(0, 100) }, [`tls.key ${noKey}`]],
  ['a key that is the certificate', { cert, key: cert }, [`tls.key ${noKey}`]],
  ['a key with a passphrase', { cert, key: locked }, [`tls.key ${noKey}`]],
  ['a key of another certificate', { cert, key: privateKeyOf() }, [another]],
  ['a key of another kind', { cert, key: rsa }, [another]],
  ['a certificate without its key', { cert }, ['tls.key is required beside tls.cert']],
  ['a key without its certificate', { key }, ['tls.cert is required beside tls.key']],
  [
    'all of it wrong',
    { ca: 'topsecret', cert: 'topsecret', key: 'topsecret' },
    [`tls.ca ${noCertificate}`, `tls.cert ${noCertificate}`, `tls.key ${noKey}`]
  ]
]
for (const [what, tls, expected] of bad) {
  t.test(`${what} is refused, and not shown`, async t => {
    const reading = read(tls, 'targets[1]')
    const problems = reading.ok ? [] : reading.problems
    t.strictSame(
      problems.map(({ field, message }) => `${field} ${message}`),
      expected.map(problem => `targets[1].${problem}`)
    )
    t.notMatch(JSON.stringify(problems), /topsecret|[A-Za-z0-9+/]{40}/)
  })
}

const good: [what: string, tls: object][] = [
  ['a CA', { ca: cert }],
  ['a CA of several certificates, with words between them', { ca: `# ours\n${cert}\n# theirs\n${expired}` }],
  ['a CA in the older words of PEM', { ca: cert.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE') }],
  ['lines that end as on Windows', { ca: cert.replaceAll('\n', '\r\n') }],
  ['a certificate, its chain and its key', { cert: cert + expired, key }],
  ['one text with both', { cert: cert + key, key: cert + key }]
]
for (const [what, tls] of good) t.test(`${what} is taken`, async t => t.match(read(tls), { ok: true }))
