import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Test } from 'tap'
import { readConfig } from '../../src/config.js'
import type { PublishResult, TargetResult } from '../../src/pipeline/result.js'
import { type Service, startService } from '../../src/service.js'
import type { Json } from './stand-in.js'

export interface TestServiceOptions {
  /** Targets as people write them. */
  readonly targets?: readonly object[]
  /** The environment besides: PORT, directories and the like are set. LOG_LEVEL is silent. */
  readonly env?: Readonly<Record<string, string>>
}

/** What the service answered, read as JSON where it is JSON. */
export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly body: Json
}

export interface TestService extends Service {
  /** Log lines, parsed; empty unless LOG_LEVEL is set. */
  readonly logs: Record<string, unknown>[]
  /** Log lines as they were written. */
  readonly logText: () => string
  /** Where its targets and its queue are. */
  readonly directory: string
  get(path: string, headers?: Record<string, string>): Promise<Reply>
  /** Posts JSON: an object is written, text and bytes go as they are. */
  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>
  send(method: string, path: string, headers?: Record<string, string>): Promise<Reply>
  /** Replaces the targets, as an editor does, and waits until they are in use. */
  retarget(targets: readonly object[]): Promise<void>
}

/** Starts the real service in this process, as main.ts does, on a free port and in a directory of its own. */
export async function startTestService(t: Test, { targets = [], env = {} }: TestServiceOptions): Promise<TestService> {
  const directory = await mkdtemp(join(tmpdir(), 'alert-fanout-'))
  const file = join(directory, 'targets.json')
  await writeFile(file, JSON.stringify({ targets }))
  const reading = readConfig({
    HOST: '127.0.0.1',
    PORT: '0',
    DISCOVERY: 'file',
    TARGETS_FILE: file,
    QUEUE_DIR: join(directory, 'queue'),
    LOG_LEVEL: 'silent',
    DRAIN_TIMEOUT: '100ms',
    ...env
  })
  if (!reading.ok) throw new Error(JSON.stringify(reading.problems))
  const lines: string[] = []
  const log = pino({ level: reading.value.LOG_LEVEL }, { write: line => void lines.push(line) })
  const service = await startService(reading.value, { log, targetsFileNamed: true })
  t.teardown(async () => {
    await service.stop()
    await rm(directory, { recursive: true, force: true })
  })

  async function request(method: string, path: string, init: RequestInit = {}): Promise<Reply> {
    const answer = await fetch(service.url + path, { method, redirect: 'manual', ...init })
    const text = await answer.text()
    const isJson = answer.headers.get('content-type')?.startsWith('application/json') === true
    return { status: answer.status, headers: answer.headers, text, body: isJson ? JSON.parse(text) : undefined }
  }

  return {
    ...service,
    directory,
    get logs() {
      return lines.map(line => JSON.parse(line))
    },
    logText: () => lines.join(''),
    get: (path, headers = {}) => request('GET', path, { headers }),
    send: (method, path, headers = {}) => request(method, path, { headers }),
    post: (path, body, headers = {}) =>
      request('POST', path, {
        headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        body:
          body === undefined || typeof body === 'string' || body instanceof Uint8Array
            ? (body as string)
            : JSON.stringify(body)
      }),
    async retarget(next) {
      const known = async () => (await request('GET', '/status')).body.discovery.last_success
      const before = await known()
      await writeFile(`${file}.new`, JSON.stringify({ targets: next }))
      await rename(`${file}.new`, file)
      while ((await known()) === before) await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
}

/** Nothing is tried again by itself: a delay is anything up to its longest, so that one is as long as can be set. */
export const noRetry = { RETRY_BASE: '24d', RETRY_MAX_DELAY: '24d' }

/** Nor does any circuit open: what is sent when is up to the test. */
export const patient = { ...noRetry, CIRCUIT_FAILURE_THRESHOLD: '10000' }

/** Where publishes go. */
export const publishPaths = {
  named: '/api/v1/publish/parallel',
  all: '/api/v1/publish/parallel/all',
  healthy: '/api/v1/publish/parallel/healthy',
  explain: '/api/v1/publish/explain'
} as const

/** A body with one firing alert; its name tells it from others. */
export function oneAlert(name = 'NodeDown', more: object = {}): { alert: Record<string, unknown> } {
  return { alert: { status: 'firing', labels: { alertname: name, severity: 'critical' }, ...more } }
}

/** An Alertmanager webhook body, version 4, with one alert for each name. */
export function alertmanagerBody(
  names: readonly string[] = ['NodeDown'],
  more: { status?: string; endsAt?: string } = {}
) {
  const { status = 'firing', endsAt = status === 'firing' ? '0001-01-01T00:00:00Z' : '2026-11-20T18:30:00Z' } = more
  return {
    receiver: 'team',
    status,
    alerts: names.map(name => ({
      status,
      labels: { alertname: name, severity: 'critical' },
      annotations: { summary: `${name} is bad` },
      startsAt: '2026-11-20T18:17:30.86Z',
      endsAt,
      generatorURL: 'http://prometheus:9090/graph?g0.expr=up',
      fingerprint: Buffer.from(name.padEnd(8, '.')).toString('hex').slice(0, 16)
    })),
    groupLabels: {},
    commonLabels: {},
    commonAnnotations: {},
    externalURL: 'http://alertmanager:9093',
    version: '4',
    groupKey: `{}:{group="${names.join()}"}`,
    truncatedAlerts: 0
  }
}

/** A publish result without what differs from run to run: ids stay only as far as they are there. */
export function steady(result: PublishResult): unknown {
  const { publish_id, duration_ms, results, ...rest } = result
  return {
    ...rest,
    publish_id: typeof publish_id,
    duration_ms: typeof duration_ms,
    results: results.map(steadyTarget)
  }
}

/** One target's result without what differs from run to run. */
export function steadyTarget({ duration_ms, delivery_id, ...rest }: TargetResult): unknown {
  return { ...rest, duration_ms: typeof duration_ms, ...(delivery_id === undefined ? {} : { delivery_id: 'id' }) }
}
