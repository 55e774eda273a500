import { writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { Config } from '../src/config.js'

/** `.env.example` as the schema of the environment has it: every variable with what it does and its default. */
export function envExample(): string {
  const variables = Object.entries(Config.properties as unknown as Record<string, Variable>)
  return [
    '# Every variable that the service reads, with its default. Written by `npm run env:example`: change src/config.ts.',
    ...variables.map(([name, variable]) => `# ${textOf(variable)}\n#${name}=${variable.default ?? ''}`),
    ''
  ].join('\n\n')
}

interface Variable {
  readonly description: string
  readonly default?: unknown
  readonly enum?: readonly string[]
}

function textOf({ description, enum: words }: Variable): string {
  return words ? `${description} One of: ${words.join(', ')}.` : description
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  writeFileSync(new URL('../.env.example', import.meta.url), envExample())
}
