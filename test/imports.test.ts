import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import t from 'tap'

const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome')

/** Files of one import each, linted by the project's own rules: those that are refused. */
function refused(t: Tap, imports: readonly (readonly [file: string, from: string])[]): string[] {
  const directory = t.testdir()
  const rules = JSON.parse(readFileSync(new URL('../biome.json', import.meta.url), 'utf8'))
  writeFileSync(join(directory, 'biome.json'), JSON.stringify({ ...rules, vcs: { enabled: false } }))
  imports.forEach(([file, from], index) => {
    const path = join(directory, 'src', file.replace('*', `case${index}`))
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, `import { it } from '${from}'\n\nit()\n`)
  })
  const report = JSON.parse(run(directory)) as { diagnostics: { category: string; location: { path: unknown } }[] }
  const paths = report.diagnostics
    .filter(({ category }) => category === 'lint/style/noRestrictedImports')
    .map(({ location }) => JSON.stringify(location.path))
  return imports.flatMap(([file, from], index) =>
    paths.some(path => path.includes(`src/${file.replace('*', `case${index}`)}`)) ? [`${file} ${from}`] : []
  )
}

function run(cwd: string): string {
  try {
    const arguments_ = [biome, 'lint', '--reporter=json', '--max-diagnostics=none', 'src']
    return execFileSync(process.execPath, arguments_, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}

type Tap = Pick<typeof t, 'testdir'>

t.test('imports that go down the layers are fine', async t => {
  const imports = [
    ['targets/*.ts', '../alert.js'],
    ['targets/*.ts', './text.js'],
    ['targets/*.ts', 'undici'],
    ['discovery/*.ts', '../targets/target.js'],
    ['health/*.ts', '../targets/send.js'],
    ['queues/*.ts', '../secret.js'],
    ['pipeline/*.ts', '../targets/send.js'],
    ['pipeline/*.ts', '../queues/contract.js'],
    ['routes/*.ts', '../pipeline/publish.js'],
    ['metrics.ts', './pipeline/publish.js'],
    ['service.ts', './app.js'],
    ['main.ts', './service.js']
  ] as const
  t.strictSame(refused(t, imports), [])
})

t.test('imports that go up or across the layers are refused', async t => {
  const imports = [
    ['targets/*.ts', '../pipeline/deliver.js'],
    ['targets/*.ts', '../queues/contract.js'],
    ['targets/*.ts', '../config.js'],
    ['discovery/*.ts', '../pipeline/roster.js'],
    ['health/*.ts', '../routes/http.js'],
    ['queues/*.ts', '../alert.js'],
    ['queues/*.ts', '../pipeline/entry.js'],
    ['pipeline/*.ts', '../routes/http.js'],
    ['pipeline/*.ts', '../queues/embedded.js'],
    ['pipeline/*.ts', '../metrics.js'],
    ['routes/*.ts', '../service.js'],
    ['routes/*.ts', '../queues/redis.js'],
    ['metrics.ts', './service.js'],
    ['metrics/*.ts', '../app.js'],
    ['page/*.ts', '../service.js'],
    ['service.ts', './main.js']
  ] as const
  t.strictSame(
    refused(t, imports),
    imports.map(each => each.join(' '))
  )
})
