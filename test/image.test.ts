import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createListener } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { build, type Image, makeReadOnly } from './support/dockerfile.js'

// Two installations take longer than tap gives a file.
t.setTimeout(300_000)

const project = fileURLToPath(new URL('..', import.meta.url))

t.test('the Dockerfile’s steps make a service that runs from a read-only directory', async t => {
  const into = mkdtempSync(join(tmpdir(), 'alert-fanout-image-'))
  chmodSync(into, 0o755)
  t.teardown(() => {
    spawnSync('chmod', ['-R', 'u+w', into])
    rmSync(into, { recursive: true, force: true })
  })
  const image = build(project, into)

  t.test('it brings no development dependency', async t => {
    const lock = JSON.parse(readFileSync(join(project, 'package-lock.json'), 'utf8'))
    const brought = Object.entries<{ dev?: boolean }>(lock.packages).filter(
      ([path, entry]) => entry.dev && existsSync(join(image.workdir, path))
    )
    t.strictSame(
      brought.map(([path]) => path),
      []
    )
    t.ok(existsSync(join(image.workdir, 'node_modules/fastify')))
    t.notOk(existsSync(join(image.workdir, 'src')))
  })

  t.test('it starts the service as npm start does', async t => {
    const { scripts } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8'))
    t.equal(image.command.join(' '), scripts.start)
  })

  t.test('it answers, delivers, is healthy by its own check, and stops when told', async t => {
    makeReadOnly(image.workdir)
    const received: string[] = []
    const receiver = createServer(async (request, answer) => {
      let body = ''
      for await (const chunk of request) body += chunk
      received.push(JSON.parse(body).alerts[0].alert_name)
      answer.end()
    }).listen(0, '127.0.0.1')
    t.teardown(() => receiver.close())
    await once(receiver, 'listening')
    const targets = join(into, 'targets.yaml')
    writeFileSync(
      targets,
      `targets: [{name: hook, type: webhook, url: 'http://127.0.0.1:${(receiver.address() as AddressInfo).port}/'}]`
    )

    const port = await freePort()
    const start = starter(image, { HOST: '127.0.0.1', PORT: String(port), DISCOVERY: 'file', TARGETS_FILE: targets })
    t.match(await outcome(start(['node', '-e', 'fs.writeFileSync("x", "")'])), { code: 1, output: /EACCES/ })
    t.match(await outcome(start(image.healthcheck)), { code: 1 }, 'not healthy before it runs')

    const service = start(image.command)
    t.teardown(() => service.kill('SIGKILL'))
    const ended = outcome(service)
    const url = `http://127.0.0.1:${port}`
    if (!(await answers(`${url}/readyz`, service))) return t.fail((await ended).output)
    for (const path of ['/healthz', '/metrics']) t.equal((await fetch(url + path)).status, 200, path)
    t.match(await outcome(start(image.healthcheck)), { code: 0 })

    const answer = await fetch(`${url}/api/v1/publish/parallel/all`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ alert: { alert_name: 'DiskFull', status: 'firing' } })
    })
    t.match(await answer.json(), { success: true, results: [{ target_name: 'hook', status_code: 200 }] })
    t.equal(answer.status, 200)
    t.strictSame(received, ['DiskFull'])

    service.kill('SIGTERM')
    const { code, output } = await ended
    t.equal(code, 0, output)
  })
})

/** Starts a command as the container would: as the image's user, in its directory, with nothing but its environment. */
function starter(image: Image, given: Record<string, string>): (command: string[]) => ChildProcess {
  const [uid, gid] = image.user.split(':').map(Number)
  const own = { ...image.env, QUEUE_DIR: join(image.root, image.env.QUEUE_DIR!) }
  const user = process.getuid?.() === 0 ? { uid, gid } : {}
  const variables = Object.entries({ PATH: process.env.PATH, ...own, ...given }).map(
    ([name, value]) => `${name}=${value}`
  )
  return command => spawn('env', ['-i', ...variables, ...command], { cwd: image.workdir, ...user })
}

async function outcome(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = ''
  child.stdout!.on('data', chunk => {
    output += chunk
  })
  child.stderr!.on('data', chunk => {
    output += chunk
  })
  const [code] = await once(child, 'close')
  return { code, output }
}

async function freePort(): Promise<number> {
  const listener = createListener().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  listener.close()
  await once(listener, 'close')
  return port
}

async function answers(url: string, service: ChildProcess): Promise<boolean> {
  while (service.exitCode === null) {
    const status = await fetch(url).then(
      answer => answer.status,
      () => 0
    )
    if (status === 200) return true
    await new Promise(next => setTimeout(next, 50))
  }
  return false
}
