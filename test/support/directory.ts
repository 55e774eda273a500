import { mkdtempSync, rmSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Test } from 'tap'

/** An empty directory until the test's end; removed only behind all teardowns that are registered later, unlike tap's own. */
export function ownDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'alert-fanout-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Copies a queue's directory that is in use, as a crash would have left it. */
export async function copyQueue(from: string, to: string): Promise<void> {
  const isNoSocket = (source: string) => !basename(source).startsWith('owner.')
  await cp(from, to, { recursive: true, filter: isNoSocket })
}
