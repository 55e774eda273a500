import dns from 'node:dns'
import type { LookupFunction } from 'node:net'
import ipaddr from 'ipaddr.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6
type Range = [Address, number]
type Resolved = (error: NodeJS.ErrnoException | null, found: dns.LookupAddress[]) => void

/** Says which addresses may be connected to. Checked on the resolved address, and the connection goes to just that one. */
export interface Egress {
  allows(address: string): boolean
  /** A `lookup` for sockets: resolves a name and fails with `ERR_BLOCKED_ADDRESS` if no address of it is allowed. */
  lookup: LookupFunction
}

/** A connection that the egress rules forbid. */
export class BlockedAddress extends Error {
  readonly code = 'ERR_BLOCKED_ADDRESS'

  constructor() {
    super('the address is in a range that EGRESS_DENY forbids')
  }
}

/**
 * Rules from two lists of CIDR ranges; `allow` makes exceptions to `deny`. Throws on an entry that is no CIDR range.
 * `resolve` finds the addresses of a name: by default as the system does.
 */
export function egress(
  deny: readonly string[],
  allow: readonly string[],
  resolve: (name: string, options: dns.LookupAllOptions, callback: Resolved) => void = dns.lookup
): Egress {
  const denied = deny.map(rangeOf)
  const allowed = allow.map(rangeOf)

  const passes = (address: Address): boolean => within(address, allowed) || !within(address, denied)
  const allows = (text: string): boolean => {
    // process() turns IPv4-mapped IPv6 addresses into the IPv4 ones that they reach.
    const address = ipaddr.process(text)
    const carried = carriedBy(address)
    return passes(address) && (!carried || passes(carried))
  }
  const lookup: LookupFunction = (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, '', 0)
      const good = found.filter(entry => allows(entry.address))
      if (good.length === 0) return callback(new BlockedAddress(), '', 0)
      if (options.all) callback(null, good)
      else callback(null, good[0]!.address, good[0]!.family)
    })
  }
  return { allows, lookup }
}

/** A range as it is matched: of IPv4-mapped IPv6 addresses, the IPv4 ones that they reach. */
function rangeOf(text: string): Range {
  const [base, bits] = ipaddr.parseCIDR(text)
  return base instanceof ipaddr.IPv6 && base.isIPv4MappedAddress() && bits >= 96
    ? [base.toIPv4Address(), bits - 96]
    : [base, bits]
}

function within(address: Address, ranges: readonly Range[]): boolean {
  return ranges.some(([base, bits]) => address.kind() === base.kind() && address.match(base, bits))
}

/** Ranges of IPv6 addresses that a translator or a tunnel takes to an IPv4 one, and the byte at which that one begins. */
const carriers: readonly { readonly range: Range; readonly at: number }[] = [
  // RFC 6052 and 8215: NAT64.
  { range: ipaddr.parseCIDR('64:ff9b::/96'), at: 12 },
  { range: ipaddr.parseCIDR('64:ff9b:1::/48'), at: 12 },
  // RFC 3056: 6to4.
  { range: ipaddr.parseCIDR('2002::/16'), at: 2 },
  // RFC 4291: IPv4-compatible. RFC 7915: IPv4-translated.
  { range: ipaddr.parseCIDR('::/96'), at: 12 },
  { range: ipaddr.parseCIDR('::ffff:0:0:0/96'), at: 12 }
]

function carriedBy(address: Address): Address | undefined {
  // Neither the loopback nor no address at all is IPv4-compatible, though they look so.
  if (address.range() === 'loopback' || address.range() === 'unspecified') return undefined
  const carrier = carriers.find(({ range }) => within(address, [range]))
  return carrier && ipaddr.fromByteArray(address.toByteArray().slice(carrier.at, carrier.at + 4))
}
