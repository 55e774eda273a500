import type { LookupAddress } from 'node:dns'
import t from 'tap'
import { listOf, readConfig } from '../../src/config.js'
import { egress } from '../../src/targets/egress.js'

const config = readConfig({})
const standard = config.ok ? listOf(config.value.EGRESS_DENY) : []

/** The address as a URL's host carries it to the connection. */
const hostOf = (host: string) => new URL(`http://${host}/`).hostname.replace(/^\[|\]$/g, '')

/** The same of a bare IPv6 address. */
const hostOf6 = (address: string) => hostOf(`[${address}]`)

for (const host of [
  '169.254.169.254',
  '169.254.0.1',
  '169.254.170.2',
  '100.100.100.200',
  '192.0.0.192',
  '2852039166',
  '0xa9fea9fe',
  '0xa9.0xfe.0xa9.0xfe',
  '0251.0376.0251.0376',
  '169.254.43518',
  '169.16689662',
  '①⑥⑨.②⑤④.①⑥⑨.②⑤④',
  '[::ffff:169.254.169.254]',
  '[::ffff:a9fe:a9fe]',
  '[0:0:0:0:0:ffff:a9fe:a9fe]',
  '[fe80::1]',
  '[febf:ffff::1]',
  '[fd00:ec2::254]',
  '[FD00:0EC2:0:0:0:0:0:254]'
]) {
  t.test(`by default, ${host} is not connected to`, async t =>
    t.equal(egress(standard, []).allows(hostOf(host)), false)
  )
}

for (const host of [
  '127.0.0.1',
  '10.0.0.1',
  '172.16.0.1',
  '192.168.1.1',
  '169.253.255.255',
  '169.255.0.0',
  '100.100.100.201',
  '8.8.8.8',
  '[::1]',
  '[fd00::1]',
  '[fd00:ec2::253]',
  '[2001:db8::1]',
  '[::ffff:10.0.0.1]'
]) {
  t.test(`by default, ${host} is an ordinary address`, async t =>
    t.equal(egress(standard, []).allows(hostOf(host)), true)
  )
}

t.test('an address with a zone is judged without it', async t => {
  t.equal(egress(standard, []).allows('fe80::1%eth0'), false)
})

t.test('ALLOW makes exceptions to DENY, and nothing else', async t => {
  const { allows } = egress(['10.0.0.0/8', '0.0.0.0/0', '::/0'], ['10.1.0.0/16', '2001:db8::/32'])
  t.strictSame(['10.1.2.3', '10.2.0.1', '8.8.8.8', '2001:db8::1', '2001:db9::1', '::ffff:10.1.2.3'].map(allows), [
    true,
    false,
    false,
    true,
    false,
    true
  ])
})

t.test('a range of IPv4-mapped addresses means the IPv4 ones', async t => {
  const { allows } = egress(['::ffff:10.0.0.0/104'], ['::ffff:10.1.0.0/112'])
  t.strictSame(['10.2.0.1', '10.1.0.1', '11.0.0.1', '::ffff:10.2.0.1'].map(allows), [false, true, true, false])
})

const carrying = [
  ['NAT64', (v4: string) => `64:ff9b::${v4}`],
  ['local NAT64', (v4: string) => `64:ff9b:1:2:3:4:${v4}`],
  ['6to4', (v4: string) => `2002:${hex(v4)}:5:6::7`],
  ['the IPv4-compatible kind', (v4: string) => `::${v4}`],
  ['the IPv4-translated kind', (v4: string) => `::ffff:0:${v4}`]
] as const
/** `10.1.2.3` → `0a01:0203` */
const hex = (v4: string) =>
  v4
    .split('.')
    .map(byte => Number(byte).toString(16).padStart(2, '0'))
    .join('')
    .replace(/^..../, '$&:')

for (const [what, of] of carrying) {
  t.test(`an address of ${what} is judged by the IPv4 one that it reaches as well`, async t => {
    const { allows } = egress(['169.254.0.0/16', '10.0.0.0/8'], ['10.1.0.0/16'])
    const judged = ['169.254.169.254', '10.2.0.1', '10.1.0.1', '8.8.8.8'].map(of).map(hostOf6)
    t.strictSame(judged.map(allows), [false, false, true, true])
    const itself = egress([`${hostOf6(of('8.8.8.8'))}/128`], [])
    t.strictSame(['8.8.8.8', '8.8.4.4'].map(of).map(hostOf6).map(itself.allows), [false, true])
    const excepted = egress(['169.254.0.0/16'], ['::/0'])
    t.equal(excepted.allows(of('169.254.169.254')), false, 'an exception for IPv6 is none for what it reaches')
  })
}

t.test('no address, and the loopback, carry none', async t => {
  t.strictSame(['::', '::1', '::2'].map(egress(['0.0.0.0/8'], []).allows), [true, true, false])
})

t.test('without ranges, everything is allowed', async t => {
  t.strictSame(['169.254.169.254', '::1'].map(egress([], []).allows), [true, true])
})

t.test('a range that is none is a mistake, not ignored', async t => {
  t.throws(() => egress(['10.0.0.0'], []))
  t.throws(() => egress([], ['everything']))
})

/** What a lookup calls back with, for a name with these addresses. */
function look(addresses: LookupAddress[] | Error, all: boolean) {
  const rules = egress(standard, ['169.254.1.1/32'], (_name, options, callback) => {
    if (addresses instanceof Error) callback(addresses, [])
    else callback(null, options.all ? addresses : [])
  })
  return new Promise(resolve => {
    rules.lookup('target.test', { all }, (error, address, family) => resolve({ error, address, family }))
  })
}
const good = { address: '10.0.0.1', family: 4 }
const other = { address: '2001:db8::1', family: 6 }
const bad = { address: '169.254.169.254', family: 4 }
const mapped = { address: '::ffff:169.254.169.254', family: 6 }

t.test('a name gives just those of its addresses that are allowed', async t => {
  t.strictSame(await look([bad, good, mapped, other], true), { error: null, address: [good, other], family: undefined })
  t.strictSame(await look([bad, good], false), { error: null, address: '10.0.0.1', family: 4 })
  t.match(await look([{ address: '169.254.1.1', family: 4 }], false), { error: null, address: '169.254.1.1' })
})

t.test('a name of none but forbidden addresses is blocked', async t => {
  for (const all of [true, false]) t.match(await look([bad, mapped], all), { error: { code: 'ERR_BLOCKED_ADDRESS' } })
  t.match(await look([], true), { error: { code: 'ERR_BLOCKED_ADDRESS' } })
})

t.test('a name that cannot be resolved fails as it did', async t => {
  const error = Object.assign(new Error('no such host'), { code: 'ENOTFOUND' })
  t.match(await look(error, true), { error })
})

t.test('the system’s own resolver is asked by default', async t => {
  const { lookup } = egress(['127.0.0.0/8', '::1/128'], [])
  const error = await new Promise(resolve => lookup('localhost', {}, resolve))
  t.match(error, { code: 'ERR_BLOCKED_ADDRESS' })
})
