// All measurements: `npm run bench`, with `-- --quick` in about a minute, with `-- --only NAME` some of them. Prints its
// tables; a whole run also writes them to bench/RESULTS.md. Asserts nothing.
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Bench, openBench, type Table } from './bench.js'
import { engineCost } from './engine.js'
import { isolation } from './isolation.js'
import { added, parallelOrNot, slowTargets } from './latency.js'
import { coldStart, memory } from './memory.js'
import { heading, printed, tableText } from './report.js'
import { throughput } from './throughput.js'

const measurements: Readonly<Record<string, (bench: Bench) => Promise<Table>>> = {
  throughput,
  parallel: parallelOrNot,
  added,
  slow: slowTargets,
  isolation,
  engine,
  memory,
  start: coldStart
}
/** Programs with tables of their own; they take minutes, so a quick run leaves them out. */
const programs = ['owed', 'store']

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    rounds: { type: 'string' }
  }
})
const { quick, only, rounds = quick ? '1' : '3' } = values
const wanted = (name: string) => !only || only.includes(name)
const unknown = only?.find(name => !(name in measurements || programs.includes(name)))
if (unknown !== undefined || !(Number(rounds) > 0)) {
  console.error(`--only takes ${[...Object.keys(measurements), ...programs].join(', ')}; --rounds takes a number`)
  process.exit(1)
}
const root = fileURLToPath(new URL('..', import.meta.url))

if (spawnSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'inherit' }).status !== 0) process.exit(1)
const report: string[] = []
tell(heading())
const bench = await openBench({ quick, rounds: Number(rounds) })
for (const [name, measure] of Object.entries(measurements)) {
  if (!wanted(name)) continue
  // One that fails says so, and the others still count.
  tell(await measure(bench).then(tableText, (error: unknown) => `## ${name}\n\nfailed: ${(error as Error).message}\n`))
}
bench.close()
for (const name of programs) {
  const file = `bench/${name}.ts`
  if (existsSync(root + file) && (only ? only.includes(name) : !quick)) tell(await printed(root, file))
}
if (!quick && !only) writeFileSync(new URL('RESULTS.md', import.meta.url), `${report.join('\n')}`)
process.exit()

function tell(text: string): void {
  console.log(text)
  report.push(text)
}

/** The pipeline by itself, in this process, with targets that answer at once. */
async function engine({ quick }: Bench): Promise<Table> {
  const rows: string[][] = []
  // Else the first row would pay for compiling what all of them use.
  await engineCost('embedded', 5, 2_000)
  for (const targets of [1, 10, 50]) {
    const publishes = quick ? 1_000 : 20_000 / targets + 4_000
    const off = await engineCost('off', targets, publishes)
    const embedded = await engineCost('embedded', targets, publishes)
    rows.push([String(targets), off.toFixed(1), embedded.toFixed(1)])
  }
  return {
    title: 'The engine alone, in process, targets that answer at once',
    head: ['targets', 'µs of CPU a publish, QUEUE=off', 'QUEUE=embedded'],
    rows
  }
}
