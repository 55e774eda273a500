/**
 * The fingerprint that Alertmanager gives an alert: FNV-1a 64 over the labels sorted by name, as name, byte 255, value,
 * byte 255; 16 hex digits. Source: prometheus/common, model.LabelSet.Fingerprint.
 */
export function fingerprintOf(labels: Readonly<Record<string, string>>): string {
  let high = 0xcbf29ce4
  let low = 0x84222325
  // The prime is 2^40 + 0x1b3: multiplied in two halves of 32 bits, each exact in a double.
  const add = (byte: number): void => {
    const mixed = (low ^ byte) >>> 0
    const product = mixed * 0x1b3
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 0x1_0000_0000) + (mixed << 8)) >>> 0
    low = product >>> 0
  }
  const names = Object.keys(labels)
  for (const name of names.length > 1 ? sortedByBytes(names) : names) {
    for (const byte of Buffer.from(name)) add(byte)
    add(255)
    for (const byte of Buffer.from(labels[name]!)) add(byte)
    add(255)
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
}

/** Go compares strings by byte, JavaScript by UTF-16 unit: the two differ beyond the Basic Multilingual Plane. */
function sortedByBytes(names: string[]): string[] {
  return names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}
