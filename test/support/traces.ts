import type { Test } from 'tap'
import { type Script, startStandIn } from './stand-in.js'

/** A span as a trace shows it: what it is, how it ended, and what it led to. Ids that differ from run to run are left out. */
export interface Shown {
  readonly name: string
  readonly attributes: Record<string, unknown>
  /** Absent unless it is an error: its reason. */
  readonly error?: string
  readonly below: Shown[]
}

/** A span as OTLP/JSON has it. */
export interface Exported {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly attributes: { readonly key: string; readonly value: Record<string, unknown> }[]
  readonly links?: { readonly traceId: string; readonly spanId: string }[]
  readonly status: { readonly code: number; readonly message?: string }
}

export interface Collector {
  readonly url: string
  /** Paths that were posted to, in order. */
  readonly paths: () => string[]
  /** Everything that came, as text. */
  readonly text: () => string
  /** What the spans say that they are about: one for each export. */
  readonly resources: () => Record<string, unknown>[]
  /** Every span that came, in the order in which they ended. */
  readonly spans: () => Exported[]
}

/** A receiver of OTLP over HTTP on a free loopback port. */
export async function startCollector(t: Test, script: Script = { body: '{}' }): Promise<Collector> {
  const standIn = await startStandIn(t, script)
  const exported = () => standIn.requests.flatMap(request => request.json().resourceSpans)
  return {
    url: standIn.url,
    paths: () => standIn.requests.map(({ method, path }) => `${method} ${path}`),
    text: () => standIn.requests.map(({ bytes }) => bytes.toString()).join('\n'),
    resources: () => exported().map(({ resource }) => valuesOf(resource.attributes)),
    spans: () => exported().flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }: { spans: Exported[] }) => spans))
  }
}

/**
 * What is below a span of the trace, from the top down; those of one target together, in the order of their attempts.
 * Times cannot tell the order: they are of milliseconds.
 */
export function below(spans: readonly Exported[], parent: string): Shown[] {
  return spans
    .filter(({ parentSpanId = '' }) => parentSpanId === parent)
    .sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : placeOf(a) > placeOf(b) ? 1 : 0))
    .map(({ name, attributes, status, spanId }) => {
      const { publish_id, delivery_id, ...rest } = valuesOf(attributes)
      const ids = { ...(publish_id ? { publish_id: 'id' } : {}), ...(delivery_id ? { delivery_id: 'id' } : {}) }
      return {
        name,
        attributes: { ...ids, ...rest },
        ...(status.code === 2 ? { error: status.message ?? '' } : {}),
        below: below(spans, spanId)
      }
    })
}

/** The trace context that makes a span the parent. */
export function traceparentOf({ traceId, spanId }: Exported): string {
  return `00-${traceId}-${spanId}-01`
}

function placeOf({ attributes }: Exported): string {
  const { target_name = '', attempts = '' } = valuesOf(attributes)
  return `${target_name} ${attempts}`
}

function valuesOf(attributes: Exported['attributes']): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}
