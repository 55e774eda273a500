import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { damaged } from './contract.js'

/** Pages looked at before a start; at 4 KiB each and about 3 µs, a file of 400 MB costs some 0.3 s. */
const maxPages = 100_000

/**
 * Checks a data file of LMDB before it is mapped: its heads, and every page that can be reached from the newer one.
 * LMDB trusts its file, so that a truncated or overwritten one ends the process with a signal. Throws
 * `StoreUnavailable` if it is damaged; a file that is not there yet is fine. Must not run beside a writer.
 * Source of the layout: `MDB_page`, `MDB_meta`, `MDB_db` and `MDB_node` in the mdb.c of lmdb-js 3.5.
 */
export function verify(file: string): void {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  try {
    walk(descriptor, fstatSync(descriptor).size, problem => {
      throw damaged(file, problem)
    })
  } finally {
    closeSync(descriptor)
  }
}

const headBytes = 24
const branchPage = 1
const leafPage = 2
const overflowPage = 4
const bigValue = 1
const subDatabase = 2
const noPage = 2 ** 64

function walk(descriptor: number, size: number, damaged: (problem: string) => never): void {
  const head = newestHead(descriptor) ?? damaged('it has no valid head')
  const { pageBytes } = head
  const seen = new Set<number>()
  const waiting = head.roots.filter(root => root !== noPage)
  const page = Buffer.alloc(pageBytes)

  const load = (number: number) => {
    if (seen.has(number)) damaged(`page ${number} is used twice`)
    seen.add(number)
    if ((number + 1) * pageBytes > size) damaged('it is too short')
    readSync(descriptor, page, 0, pageBytes, number * pageBytes)
    if (u64(page, 0) !== number) damaged(`page ${number} is not what it should be`)
    return page.readUInt16LE(18)
  }

  while (waiting.length > 0 && seen.size < maxPages) {
    const number = waiting.pop()!
    const flags = load(number)
    if (flags !== branchPage && flags !== leafPage) damaged(`page ${number} has no known kind`)
    const nodes = page.readUInt16LE(20) >> 1
    if (headBytes + 2 * nodes > pageBytes) damaged(`page ${number} holds too much`)
    const values: number[] = []
    for (let index = 0; index < nodes; index++) {
      const at = headBytes + page.readUInt16LE(headBytes + 2 * index)
      if (at + 8 > pageBytes) damaged(`page ${number} points outside itself`)
      const kind = page.readUInt16LE(at + 4)
      if (flags === branchPage) {
        waiting.push(page.readUInt32LE(at) + kind * 2 ** 32)
        continue
      }
      const value = at + 8 + page.readUInt16LE(at + 6)
      const valueBytes = kind & bigValue ? 24 : page.readUInt32LE(at)
      if (value + valueBytes > pageBytes) damaged(`page ${number} points outside itself`)
      if (kind & bigValue) values.push(u64(page, value), u64(page, value + 16))
      if (kind & subDatabase && u64(page, value + 40) !== noPage) waiting.push(u64(page, value + 40))
    }
    for (let index = 0; index < values.length; index += 2) {
      const [first, count] = [values[index]!, values[index + 1]!]
      if (load(first) !== overflowPage) damaged(`page ${first} has no known kind`)
      if ((first + count) * pageBytes > size) damaged('it is too short')
    }
  }
}

/** The file starts with two heads, written in turn: the one with the higher transaction counts. */
function newestHead(descriptor: number): { pageBytes: number; roots: number[] } | undefined {
  const read = (position: number) => {
    const bytes = Buffer.alloc(168)
    if (readSync(descriptor, bytes, 0, 168, position) < 168) return undefined
    const pageBytes = bytes.readUInt32LE(48)
    const valid = bytes.readUInt32LE(24) === 0xbeefc0de && pageBytes >= 512 && pageBytes <= 65_536
    return valid ? { pageBytes, roots: [u64(bytes, 88), u64(bytes, 136)], transaction: u64(bytes, 152) } : undefined
  }
  const first = read(0)
  const second = read(first?.pageBytes ?? 4096)
  return first && second ? (first.transaction > second.transaction ? first : second) : undefined
}

function u64(bytes: Buffer, offset: number): number {
  return bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * 2 ** 32
}
