import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { stringify } from 'yaml'

export interface Prometheus {
  /** The samples of an instant query: labels and value. Throws what Prometheus says of a bad query. */
  query(expr: string): Promise<{ metric: Record<string, string>; value: number }[]>
  /** What its own API answers under `data`. */
  api(path: string): Promise<unknown>
  /** Resolves once the service was scraped after this call. */
  scraped(): Promise<void>
}

/** Starts a real Prometheus that scrapes the service every second under the label namespace="test". */
export async function startPrometheus(t: Test, target: string, ruleFiles: string[] = []): Promise<Prometheus> {
  const directory = await mkdtemp(join(tmpdir(), 'prometheus-'))
  const file = join(directory, 'prometheus.yml')
  const static_configs = [{ targets: [new URL(target).host], labels: { namespace: 'test' } }]
  const configuration = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: ruleFiles,
    scrape_configs: [{ job_name: 'alert-fanout', static_configs }]
  }
  await writeFile(file, stringify(configuration))
  const url = `http://127.0.0.1:${await freePort()}`
  const options = [`--config.file=${file}`, `--storage.tsdb.path=${directory}/data`, '--log.level=error']
  const child = spawn('prometheus', [...options, `--web.listen-address=${new URL(url).host}`], { stdio: 'inherit' })
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
    await rm(directory, { recursive: true, force: true })
  })

  async function api(path: string): Promise<unknown> {
    const { data, error } = (await (await fetch(`${url}/api/v1/${path}`)).json()) as { data: unknown; error?: string }
    if (error !== undefined) throw new Error(error)
    return data
  }
  async function query(expr: string) {
    const { result } = (await api(`query?query=${encodeURIComponent(expr)}`)) as {
      result: { metric: Record<string, string>; value: [number, string] }[]
    }
    return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }))
  }
  const lastScrape = async () => (await query('timestamp(up)'))[0]?.value ?? 0

  while (
    !(await fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false
    ))
  )
    await sleep(50)
  return {
    api,
    query,
    async scraped() {
      const since = Date.now() / 1000
      while ((await lastScrape()) < since) await sleep(100)
    }
  }
}

/** Prometheus does not tell which port it took, so it is given one. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}
