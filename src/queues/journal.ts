import { constants, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { damaged, reason, StoreUnavailable } from './contract.js'

/**
 * Texts, each durable once its `append` resolves, in files `journal.N` of a directory. A file has one line for each
 * text: its CRC-32 in eight hexadecimal digits, a blank, and the text, which must not hold a line break.
 */
export interface Journal {
  /** What it held when it was opened, oldest first. */
  texts(): Iterable<string>
  /** One at a time. Rejects with `StoreUnavailable`; the text is not in the journal then. */
  append(text: string): Promise<void>
  /** What is appended from here on goes into a new file. Returns the number of the last that gets nothing more. */
  turn(): number
  /** Removes the files up to that number. */
  forget(upTo: number): Promise<void>
  close(): Promise<void>
}

/** A write of this mode returns when what it wrote, and the length of the file, would outlive a loss of power. */
const durably = constants.O_DSYNC ?? constants.O_SYNC
const anew = constants.O_CREAT | constants.O_TRUNC | constants.O_WRONLY | durably

const headBytes = 9
const lineBreak = 10
/** Of a text in UTF-8: to count them would take longer than to have too much room. */
const mostBytesPerUnit = 3
/** A buffer that had to be longer than this is not kept for the next text. */
const keptBytes = 4_000_000

/**
 * Opens what a directory has. Only the last write before a crash can be half done, and nobody was told that it was
 * durable: it is cut off. Whatever else is damaged throws `StoreUnavailable`, with the file and the line.
 */
export function openJournal(dir: string): Journal {
  const found = journalFiles(dir)
  let last = found.at(-1) ?? 0
  let held = found.map(number => readLines(fileOf(dir, number), number === last))
  let file: FileHandle | undefined
  let length = 0
  /** A failed write may have left something behind the length. */
  let uncut = false
  let buffer = Buffer.alloc(0)

  const begin = async () => {
    const handle = await open(fileOf(dir, last + 1), anew, 0o600)
    try {
      await syncDirectory(dir)
    } catch (error) {
      await handle.close()
      throw error
    }
    last++
    length = 0
    file = handle
  }

  const cut = async () => {
    await file?.truncate(length)
    uncut = false
  }

  const lineOf = (text: string): Buffer => {
    const most = headBytes + mostBytesPerUnit * text.length + 1
    const room = buffer.length < most ? Buffer.allocUnsafeSlow(most) : buffer
    if (most <= keptBytes) buffer = room
    return writeLine(room, text)
  }

  return {
    *texts() {
      const all = held
      held = []
      for (const lines of all) yield* lines
    },
    async append(text) {
      try {
        if (uncut) await cut()
        if (!file) await begin()
        const line = lineOf(text)
        uncut = true
        for (let done = 0; done < line.length; )
          done += (await file!.write(line, done, line.length - done, length + done)).bytesWritten
        uncut = false
        length += line.length
      } catch (cause) {
        if (uncut) await cut().catch(() => {})
        const { code = '' } = cause as NodeJS.ErrnoException
        const problem = full.includes(code)
          ? 'the disk of the queue directory is full'
          : `the queue directory cannot be written${reason(cause)}`
        throw new StoreUnavailable(problem, { cause })
      }
    },
    turn() {
      // Behind a file that could not be cut there must not be another: it would not be the last one then.
      if (uncut) return last - 1
      const before = file
      file = undefined
      before?.close().catch(() => {})
      return last
    },
    async forget(upTo) {
      for (const number of journalFiles(dir)) if (number <= upTo) await rm(fileOf(dir, number), { force: true })
    },
    async close() {
      await file?.close()
    }
  }
}

const full = ['ENOSPC', 'EDQUOT', 'EFBIG']

/** The lines of a journal that is written at once, by an upgrade. */
export function rewriteJournal(dir: string, texts: readonly string[]): void {
  for (const number of journalFiles(dir)) rmSync(fileOf(dir, number))
  const lines = texts.map(text => writeLine(Buffer.alloc(headBytes + mostBytesPerUnit * text.length + 1), text))
  if (lines.length > 0) writeFileSync(fileOf(dir, 1), Buffer.concat(lines), { mode: 0o600, flush: true })
}

/** The numbers of the files that are there, rising. */
export function journalFiles(dir: string): number[] {
  return readdirSync(dir)
    .filter(name => /^journal\.\d+$/.test(name))
    .map(name => Number(name.slice(8)))
    .sort((a, b) => a - b)
}

function fileOf(dir: string, number: number): string {
  return join(dir, `journal.${number}`)
}

/** Writes a text as a line to the start of a buffer that is long enough, and gives what was written. */
function writeLine(buffer: Buffer, text: string): Buffer {
  const end = headBytes + buffer.write(text, headBytes)
  buffer.write(`${hex(crc32(buffer.subarray(headBytes, end)))} `, 0, 'latin1')
  buffer[end] = lineBreak
  return buffer.subarray(0, end + 1)
}

function hex(number: number): string {
  return number.toString(16).padStart(8, '0')
}

/** The texts of a file, which is checked as a whole first. `isLast`: its end may be half a write, which is cut off. */
function readLines(file: string, isLast: boolean): Iterable<string> {
  const bytes = readFileSync(file)
  const ends: number[] = []
  for (let start = 0; start < bytes.length; ) {
    const end = lineEnd(bytes, start)
    if (end === undefined) {
      if (!isLast || anyLine(bytes, start)) throw damaged(file, `line ${ends.length + 1}`)
      truncateSync(file, start)
      break
    }
    ends.push(end)
    start = end + 1
  }
  return texts(bytes, ends)
}

function* texts(bytes: Buffer, ends: readonly number[]): Generator<string> {
  for (const [index, end] of ends.entries()) {
    const start = index === 0 ? 0 : ends[index - 1]! + 1
    yield bytes.toString('utf8', start + headBytes, end)
  }
}

/** Where the line that starts there ends; undefined if it is none, or not as it was written. */
function lineEnd(bytes: Buffer, start: number): number | undefined {
  const end = bytes.indexOf(lineBreak, start)
  if (end < start + headBytes) return undefined
  const head = `${hex(crc32(bytes.subarray(start + headBytes, end)))} `
  return bytes.toString('latin1', start, start + headBytes) === head ? end : undefined
}

/** Whether a whole line begins somewhere behind a line that is damaged. */
function anyLine(bytes: Buffer, start: number): boolean {
  for (let at = start; (at = bytes.indexOf(lineBreak, at) + 1) > 0; ) if (lineEnd(bytes, at) !== undefined) return true
  return false
}

/** A file that was made is there after a loss of power only once its directory was written, too. */
async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
