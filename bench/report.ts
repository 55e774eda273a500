import { execFile, execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem, type } from 'node:os'
import { promisify } from 'node:util'
import type { Table } from './bench.js'
import { cores } from './processes.js'

/** Machine, versions and date: without them no figure means anything. */
export function heading(): string {
  const manifest = (path: string) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'))
  const all = cpus()
  const pinned =
    cores.measured === undefined
      ? 'not pinned: the measured process, the load and the targets share the cores'
      : `measured process on core ${cores.measured}, load on ${cores.load}, targets on ${cores.targets}`
  return [
    '# Results of `npm run bench`',
    '',
    'How to read them: [docs/benchmarks.md](../docs/benchmarks.md).',
    '',
    `- ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC${commit()}`,
    `- ${all[0]?.model ?? 'unknown'}, ${all.length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB; ${type()} ${release()}`,
    `- ${pinned}`,
    `- load average before the run: ${loadavg()[0]!.toFixed(1)} (more than 0.5 means that others used the machine)`,
    `- alert-fanout ${manifest('../package.json').version}, Node ${process.versions.node}, undici ${manifest('../node_modules/undici/package.json').version}`,
    ''
  ].join('\n')
}

/** A table that reads well as it stands, and as Markdown. */
export function tableText({ title, head, rows, notes = [] }: Table): string {
  const widths = head.map((name, column) => Math.max(3, name.length, ...rows.map(row => row[column]!.length)))
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join(' | ')} |`
  const rule = `|${widths.map((width, column) => (column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  const after = notes.length > 0 ? ['', ...notes] : []
  return [`## ${title}`, '', line(head), rule, ...rows.map(line), ...after, ''].join('\n')
}

/** What a measuring program prints: its tables, or its text as it is. */
export async function printed(root: string, file: string): Promise<string> {
  const text = await promisify(execFile)(process.execPath, ['--import', 'tsx', file], { cwd: root }).then(
    ({ stdout }) => stdout.trimEnd(),
    (error: Error) => `failed: ${error.message}`
  )
  if (text.startsWith('## ')) return `${text}\n`
  return [`## ${file}`, '', '```', text, '```', ''].join('\n')
}

function commit(): string {
  try {
    const cwd = new URL('.', import.meta.url)
    return `, commit ${execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()}`
  } catch {
    return ''
  }
}
