import dns from 'node:dns'
import type { LookupFunction } from 'node:net'
import ipaddr from 'ipaddr.js'

type Range = [ipaddr.IPv4 | ipaddr.IPv6, number]

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

/** Rules from two lists of CIDR ranges; `allow` makes exceptions to `deny`. Throws on an entry that is no CIDR range. */
export function egress(deny: readonly string[], allow: readonly string[]): Egress {
  const denied = deny.map(range => ipaddr.parseCIDR(range) as Range)
  const allowed = allow.map(range => ipaddr.parseCIDR(range) as Range)

  const allows = (text: string): boolean => {
    // process() turns IPv4-mapped IPv6 addresses into the IPv4 ones that they reach.
    const address = ipaddr.process(text)
    return within(address, allowed) || !within(address, denied)
  }
  const lookup: LookupFunction = (hostname, options, callback) => {
    dns.lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, '', 0)
      const good = found.filter(entry => allows(entry.address))
      if (good.length === 0) return callback(new BlockedAddress(), '', 0)
      if (options.all) callback(null, good)
      else callback(null, good[0]!.address, good[0]!.family)
    })
  }
  return { allows, lookup }
}

function within(address: ipaddr.IPv4 | ipaddr.IPv6, ranges: readonly Range[]): boolean {
  return ranges.some(([base, bits]) => address.kind() === base.kind() && address.match(base, bits))
}
