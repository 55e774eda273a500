/** Memory is taken, and kept for later, in pieces of so many bytes. */
const slabBytes = 1_048_576
/** What a text begins with: how many bytes it has. */
const headBytes = 4
/** In UTF-8. To count them would take longer than to have too much room. */
const mostBytesPerUnit = 3

/** Slabs that nobody uses at the moment: to give them back and ask for them again costs the system more than their memory. */
const spare: Buffer[] = []
const mostSpare = 64

/** Texts outside the heap, each known by a number. They go together. */
export class Texts {
  readonly #slabs: Buffer[] = []
  /** Of the last slab, what is used. */
  #end = slabBytes

  add(text: string): number {
    const most = headBytes + mostBytesPerUnit * text.length
    if (most > slabBytes) return this.#addLong(text)
    if (this.#end + most > slabBytes) {
      this.#slabs.push(spare.pop() ?? Buffer.allocUnsafeSlow(slabBytes))
      this.#end = 0
    }
    const slab = this.#slabs.length - 1
    return slab * slabBytes + this.#write(this.#slabs[slab]!, text)
  }

  at(number: number): string {
    const { slab, start, end } = this.#find(number)
    return slab.toString('utf8', start, end)
  }

  /** Good until `clear`. */
  bytes(number: number): Buffer {
    const { slab, start, end } = this.#find(number)
    return slab.subarray(start, end)
  }

  clear(): void {
    for (const slab of this.#slabs.splice(0))
      if (slab.length === slabBytes && spare.length < mostSpare) spare.push(slab)
    this.#end = slabBytes
  }

  /** In a slab of its own. */
  #addLong(text: string): number {
    const bytes = Buffer.allocUnsafeSlow(headBytes + Buffer.byteLength(text))
    const slab = this.#slabs.push(bytes) - 1
    this.#end = 0
    this.#write(bytes, text)
    this.#end = slabBytes
    return slab * slabBytes
  }

  /** Where in the slab it begins. */
  #write(slab: Buffer, text: string): number {
    const start = this.#end
    const length = slab.write(text, start + headBytes)
    slab.writeUInt32LE(length, start)
    this.#end = start + headBytes + length
    return start
  }

  #find(number: number): { slab: Buffer; start: number; end: number } {
    const slab = this.#slabs[Math.floor(number / slabBytes)]!
    const start = (number % slabBytes) + headBytes
    return { slab, start, end: start + slab.readUInt32LE(start - headBytes) }
  }
}
