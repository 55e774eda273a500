import type { Stats } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import type { Problem } from '../schema.js'
import { readDocument } from './document.js'
import { type Entry, nameOf, readEntry } from './snapshot.js'

/** The whole place cannot be read, or is no list of targets. The message is safe to show. */
export class Unreadable extends Error {}

/** The fingerprint of a place where nothing is. */
export const missing = 'ENOENT'

/** Changes whenever a file of targets, or anything in a directory of them, does; an error code if it cannot be looked at. */
export async function fingerprint(path: string): Promise<string> {
  try {
    const stats = await stat(path)
    if (!stats.isDirectory()) return print('', stats)
    const names = await targetFiles(path)
    const prints = await Promise.all(
      names.map(name => stat(join(path, name)).then(stats => print(name, stats), codeOf))
    )
    return prints.join('\n')
  } catch (error) {
    return codeOf(error)
  }
}

function print(name: string, { ino, size, mtimeMs, ctimeMs }: Stats): string {
  return `${name}:${ino}:${size}:${mtimeMs}:${ctimeMs}`
}

/** What stands in a file `{targets: [...]}` or in a directory with one target per file. Throws `Unreadable`. */
export async function readEntries(path: string): Promise<Entry[]> {
  try {
    const stats = await stat(path)
    if (stats.isDirectory()) return await entriesInDirectory(path)
    if (stats.isFile()) return entriesInFile(await readFile(path, 'utf8'), path)
  } catch (error) {
    if (error instanceof Unreadable) throw error
    const code = codeOf(error)
    throw new Unreadable(`${path} ${code === missing ? 'does not exist' : `cannot be read (${code})`}`)
  }
  throw new Unreadable(`${path} is neither a file nor a directory`)
}

function entriesInFile(text: string, path: string): Entry[] {
  const file = basename(path)
  const document = readDocument(text, file)
  if (!document.ok) throw new Unreadable(`${path} ${document.problems[0]?.message}`)
  const top = document.value
  if (top === null || typeof top !== 'object' || !('targets' in top) || !Array.isArray(top.targets)) {
    throw new Unreadable(`${path} has no list of targets: write {targets: [...]}, with [] for none`)
  }
  const entries = top.targets.map((raw, index): Entry => {
    const position = `targets[${index}]`
    const name = nameOf(raw)
    return { key: name, position, source: `${file} ${position}`, name, reading: readEntry(raw, undefined, position) }
  })
  for (const field of Object.keys(top))
    if (field !== 'targets') entries.push({ source: file, reading: refused(unknown(field)) })
  return entries
}

async function entriesInDirectory(path: string): Promise<Entry[]> {
  const entries: Entry[] = []
  for (const file of await targetFiles(path)) {
    try {
      // To read a pipe would wait for ever, and a device has no end.
      if (!(await stat(join(path, file))).isFile()) {
        const problem = { field: file, message: 'is no file', suggestion: 'move it elsewhere' }
        entries.push({ key: file, source: file, reading: refused(problem) })
        continue
      }
      const document = readDocument(await readFile(join(path, file), 'utf8'), file)
      const fallback = basename(file, extname(file))
      const raw = document.ok ? document.value : undefined
      const reading = document.ok ? readEntry(raw, fallback) : document
      entries.push({ key: file, source: file, name: nameOf(raw, fallback), reading })
    } catch (error) {
      const code = codeOf(error)
      if (code === missing) continue
      const problem = { field: file, message: `cannot be read (${code})`, suggestion: 'check its owner and mode' }
      entries.push({ key: file, source: file, reading: refused(problem) })
    }
  }
  return entries
}

/** Hidden files are left out, a kubelet's `..data` among them; so is whatever does not call itself YAML or JSON. */
async function targetFiles(path: string): Promise<string[]> {
  const names = await readdir(path)
  return names.filter(name => /^[^.].*\.(ya?ml|json)$/i.test(name)).sort()
}

function refused(problem: Problem): Entry['reading'] {
  return { ok: false, problems: [problem] }
}

function unknown(field: string): Problem {
  return { field, message: 'is not a known field', suggestion: 'a file of targets has only the field targets' }
}

/** The code of a system error, such as `EACCES`. Anything else is a bug and thrown on. */
function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error) return String(error.code)
  throw error
}
