/**
 * The fingerprint that Alertmanager gives an alert: FNV-1a 64 over the labels sorted by name, as name, byte 255, value,
 * byte 255; 16 hex digits. Source: prometheus/common, model.LabelSet.Fingerprint.
 */
export function fingerprintOf(labels: Readonly<Record<string, string>>): string {
  const bytes = bytesOf(labels)
  let high = 0xcbf29ce4 | 0
  let low = 0x84222325 | 0
  for (let index = 0; index < bytes.length; index++) {
    // The prime is 2^40 + 0x1b3. All stays within 32-bit integers, which is several times faster than doubles or BigInt.
    const mixed = low ^ bytes[index]!
    const lower = (mixed & 0xffff) * 0x1b3
    const upper = (mixed >>> 16) * 0x1b3 + (lower >>> 16)
    high = (Math.imul(high, 0x1b3) + (upper >>> 16) + (mixed << 8)) | 0
    low = (upper << 16) | (lower & 0xffff)
  }
  return hex(high) + hex(low)
}

const hex = (half: number): string => (half >>> 0).toString(16).padStart(8, '0')

const scratch = Buffer.allocUnsafe(16_384)

/** What is hashed, in memory that the next call may overwrite: a storm brings thousands of alerts at once. */
function bytesOf(labels: Readonly<Record<string, string>>): Buffer {
  const names = sortedByBytes(Object.keys(labels))
  let most = 0
  for (const name of names) most += 3 * (name.length + labels[name]!.length) + 2
  const bytes = most > scratch.length ? Buffer.allocUnsafe(most) : scratch
  let end = 0
  for (const name of names) {
    end += bytes.write(name, end)
    bytes[end++] = 255
    end += bytes.write(labels[name]!, end)
    bytes[end++] = 255
  }
  return bytes.subarray(0, end)
}

/** Go compares strings by byte, JavaScript by UTF-16 unit: the two differ beyond the Basic Multilingual Plane. */
function sortedByBytes(names: string[]): string[] {
  const inUnits = names.sort()
  return inUnits.some(name => /[\ud800-\udfff]/.test(name))
    ? names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    : inUnits
}
