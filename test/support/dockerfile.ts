import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'

/** What a container would be started from. */
export interface Image {
  /** The directory that stands for the image's root. */
  root: string
  workdir: string
  env: Record<string, string>
  user: string
  command: string[]
  healthcheck: string[]
}

interface Stage extends Image {
  name: string
}

/**
 * Builds a Dockerfile without Docker: each stage is a directory, its RUN steps are run there as they stand, in its
 * WORKDIR. Knows as much of the format as this project uses, and throws on anything else.
 */
export function build(source: string, into: string): Image {
  const context = join(into, 'context')
  copyContext(source, context)
  const stages: Stage[] = []
  for (const { word, rest } of instructionsOf(readFileSync(join(source, 'Dockerfile'), 'utf8'))) {
    if (word === 'FROM') stages.push(openStage(rest, into, stages.length))
    else step(word, rest, stages, context)
  }
  return stages.at(-1)!
}

/** What .dockerignore lets through: it names what is wanted, after shutting out everything. */
function copyContext(source: string, context: string): void {
  const [all, ...wanted] = readFileSync(join(source, '.dockerignore'), 'utf8').trim().split('\n')
  if (all !== '*' || wanted.some(line => !line.startsWith('!')))
    throw new Error('.dockerignore is no list of what is wanted')
  for (const path of wanted.map(line => line.slice(1))) {
    if (existsSync(join(source, path))) cpSync(join(source, path), join(context, path), { recursive: true })
  }
}

function instructionsOf(text: string): { word: string; rest: string }[] {
  const lines = text
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n\s*/g, '')
    .split('\n')
  return lines
    .filter(line => line.trim())
    .map(line => ({ word: line.split(' ')[0]!, rest: line.slice(line.indexOf(' ') + 1).trim() }))
}

function openStage(rest: string, into: string, index: number): Stage {
  const name = / AS (\S+)$/.exec(rest)?.[1] ?? String(index)
  const root = join(into, `stage-${name}`)
  mkdirSync(root, { recursive: true })
  return { name, root, workdir: root, env: {}, user: '', command: [], healthcheck: [] }
}

function step(word: string, rest: string, stages: Stage[], context: string): void {
  const stage = stages.at(-1)!
  switch (word) {
    case 'WORKDIR':
      stage.workdir = join(stage.root, rest)
      mkdirSync(stage.workdir, { recursive: true })
      return
    case 'ENV':
      for (const pair of rest.split(' ')) stage.env[pair.split('=')[0]!] = pair.split('=')[1]!
      return
    case 'RUN':
      // Without the loaders that tap gives to every process that a test starts.
      execFileSync('env', ['-u', 'NODE_OPTIONS', 'sh', '-c', rest], {
        cwd: stage.workdir,
        env: { ...process.env, ...stage.env, npm_config_prefer_offline: 'true' },
        encoding: 'utf8'
      })
      return
    case 'COPY':
      copy(rest, stage, from => stages.find(({ name }) => name === from)!.root, context)
      return
    case 'USER':
      stage.user = rest
      return
    case 'CMD':
      stage.command = JSON.parse(rest)
      return
    case 'HEALTHCHECK':
      stage.healthcheck = JSON.parse(rest.slice(rest.indexOf('CMD ') + 4))
      return
    case 'ARG':
    case 'LABEL':
    case 'VOLUME':
    case 'EXPOSE':
      return
    default:
      throw new Error(`${word} is not understood`)
  }
}

function copy(rest: string, stage: Stage, rootOf: (stage: string) => string, context: string): void {
  const words = rest.split(' ')
  const flag = (name: string) => words.find(word => word.startsWith(`--${name}=`))?.split('=')[1]
  const paths = words.filter(word => !word.startsWith('--'))
  const [from, owner, to] = [flag('from'), flag('chown'), paths.pop()!]
  const target = to.startsWith('/') ? join(stage.root, to) : resolve(stage.workdir, to)
  for (const path of paths) {
    const origin = from ? join(rootOf(from), path) : join(context, path)
    const into = statSync(origin).isDirectory() || !to.endsWith('/') ? target : join(target, basename(path))
    cpSync(origin, into, { recursive: true, verbatimSymlinks: true })
  }
  if (owner && process.getuid?.() === 0) chownSync(target, Number(owner.split(':')[0]), Number(owner.split(':')[1]))
}

/** Takes from everybody the right to write in a directory, as a read-only root file system does. */
export function makeReadOnly(directory: string): void {
  execFileSync('chmod', ['-R', 'a-w,a+rX', directory])
  chmodSync(directory, 0o555)
}
