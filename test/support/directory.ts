import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** An empty directory until the test's end; removed only behind all teardowns that are registered later, unlike tap's own. */
export function ownDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'alert-fanout-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}
