import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const quiet = 'route: {receiver: nobody}\nreceivers: [{name: nobody}]\n'

/** Starts a real Alertmanager on a free port and stops it when the test ends. The configuration is its YAML. */
export async function startAlertmanager(t: Cleanup, configuration = quiet): Promise<{ url: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'alertmanager-'))
  const file = join(directory, 'alertmanager.yml')
  await writeFile(file, configuration)
  const child = spawn(
    'prometheus-alertmanager',
    [
      `--config.file=${file}`,
      `--storage.path=${directory}`,
      '--web.listen-address=127.0.0.1:0',
      '--cluster.listen-address='
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] }
  )
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
    await rm(directory, { recursive: true, force: true })
  })
  const seen: string[] = []
  for await (const line of createInterface({ input: child.stderr })) {
    seen.push(line)
    const address = /msg="Listening on" address=(\S+)/.exec(line)?.[1]
    if (!address) continue
    child.stderr.resume()
    const url = `http://${address}`
    // It listens before it answers: the first request waits until it does.
    await fetch(`${url}/-/ready`)
    return { url }
  }
  throw new Error(`Alertmanager did not start: ${seen.join('\n')}`)
}

interface Cleanup {
  teardown(end: () => Promise<void>): void
}
