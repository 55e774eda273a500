import { type FileHandle, open, rm } from 'node:fs/promises'
import { StoreUnavailable } from './contract.js'

const headroomBytes = 16 * 1024 ** 2
const zeros = Buffer.alloc(1024 ** 2)

/** Keeps a data file longer than what is used of it. */
export interface Room {
  /** Resolves once the file has `needed` bytes beyond what is used; rejects with `StoreUnavailable` if the disk is full. */
  ensure(needed: number): Promise<void>
  close(): Promise<void>
}

/**
 * A commit of LMDB that meets a full disk leaves its memory in disorder, and one of the next ends the process (seen
 * with lmdb-js 3.5.6: `malloc(): invalid next size`). So it is never let to: what it may write is claimed here first.
 */
export async function openRoom(file: string, usedBytes: () => number): Promise<Room> {
  const handle = await open(file, 'r+')
  let size = 0
  /** What is left at least, if every write so far took all that it claimed: to ask for what is used takes its time. */
  let left = 0
  return {
    async ensure(needed) {
      left -= needed
      if (left >= 0) return
      const used = usedBytes()
      left = size - used - needed
      if (left >= 0) return
      try {
        size = (await handle.stat()).size
        size = await extend(handle, size, used + needed + headroomBytes)
      } catch (cause) {
        size = (await handle.stat()).size
        if (size - used < needed) throw new StoreUnavailable('the disk of the queue directory is full', { cause })
      } finally {
        left = size - used - needed
      }
    },
    close: () => handle.close()
  }
}

/** Proves that a directory has room for a new data file, by writing as much to `file` and removing it again. */
export async function proveRoom(file: string): Promise<void> {
  const handle = await open(file, 'w', 0o600)
  try {
    await extend(handle, 0, headroomBytes)
  } finally {
    await handle.close()
    await rm(file)
  }
}

async function extend(handle: FileHandle, from: number, to: number): Promise<number> {
  let end = from
  while (end < to) {
    const { bytesWritten } = await handle.write(zeros, 0, Math.min(zeros.length, to - end), end)
    end += bytesWritten
  }
  return end
}
