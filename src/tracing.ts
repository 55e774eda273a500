import { hostname } from 'node:os'
import {
  type Attributes,
  type Context,
  type Link,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace
} from '@opentelemetry/api'
import { ExportResultCode, parseTraceParent } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from '@opentelemetry/sdk-trace'
import type { Logger } from 'pino'
import { type Job, type PartResult, untouched } from './pipeline/deliver.js'
import type { Published } from './pipeline/publish.js'
import type { Span, Tracer } from './pipeline/tracer.js'

export interface TracingOptions {
  /** Base URL of an OTLP/HTTP receiver: spans go to `/v1/traces` below it, as JSON. */
  readonly endpoint: string
  readonly version: string
  readonly log: Logger
}

export interface Tracing {
  readonly tracer: Tracer
  /** Sends what is left, for 2 s at most. */
  stop(): Promise<void>
}

/** What a span tells at its end; `failed`: its status is an error, for this reason. */
interface Told {
  readonly attributes: Attributes
  readonly failed?: string | undefined
}

const longestFlushMs = 2_000

/**
 * Makes spans out of what the pipeline tells, and exports them in batches. They carry names, ids, counts, statuses and
 * reasons from closed sets: nothing that an alert, a target's settings or an answer says.
 */
export function startTracing({ endpoint, version, log }: TracingOptions): Tracing {
  const url = new URL(endpoint)
  url.pathname = url.pathname.replace(/\/*$/, '/v1/traces')
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': 'alert-fanout',
      'service.version': version,
      'service.instance.id': hostname()
    }),
    spanProcessors: [new BatchSpanProcessor({ exporter: complaining(new OTLPTraceExporter({ url: url.href }), log) })]
  })
  const spans = provider.getTracer('alert-fanout', version)

  function begin<Outcome>(
    name: string,
    parent: Context,
    options: SpanOptions,
    told: (outcome: Outcome) => Told | undefined
  ): Span<Outcome> {
    const span = spans.startSpan(name, options, parent)
    return {
      traceparent: traceparentOf(span.spanContext()),
      end(outcome) {
        const end = outcome === undefined ? brokenOff : told(outcome)
        // A span that never ends is never exported.
        if (!end) return
        span.setAttributes(end.attributes)
        if (end.failed !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: end.failed })
        span.end()
      }
    }
  }

  return {
    tracer: {
      publish({ traceparent, scope, accepted }) {
        const attributes = { scope, alert_count: accepted.notification.alerts.length }
        return begin('publish', parentOf(traceparent, true), { kind: SpanKind.SERVER, attributes }, publishTold)
      },
      delivery(job) {
        const attributes = { ...whereTo(job), from_queue: job.stored }
        return begin('delivery', parentOf(job.traceparent), { attributes }, result => deliveryTold(job, result))
      },
      attempt(job) {
        const attributes = { ...whereTo(job), attempt: job.entry.tries + 1 }
        const options = { kind: SpanKind.CLIENT, attributes, links: linksOf(job) }
        return begin('attempt', parentOf(job.traceparent), options, ({ outcome, statusCode }) =>
          outcome.kind === 'delivered'
            ? { attributes: { status_code: statusCode } }
            : { attributes: { status_code: statusCode, ...failureTold(outcome) }, failed: outcome.reason }
        )
      }
    },
    async stop() {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>(resolve => {
        timer = setTimeout(resolve, longestFlushMs)
      })
      await Promise.race([provider.shutdown().catch(() => {}), late])
      clearTimeout(timer)
    }
  }
}

const brokenOff: Told = { attributes: {}, failed: 'internal' }

function publishTold(published: Published): Told {
  if (published.kind === 'cancelled') return { attributes: { code: 'PUBLISH_CANCELLED' } }
  if (published.kind === 'no_enabled_targets') {
    return { attributes: { status_code: 503, code: 'NO_ENABLED_TARGETS' }, failed: 'NO_ENABLED_TARGETS' }
  }
  const { result, verdict } = published
  const code = 'code' in verdict ? verdict.code : undefined
  const attributes = {
    publish_id: result.publish_id,
    status_code: verdict.status,
    code,
    total_targets: result.total_targets,
    success_count: result.success_count,
    failure_count: result.failure_count,
    skipped_count: result.skipped_count,
    queued_count: result.queued_count
  }
  return { attributes, failed: verdict.status >= 500 ? (code ?? String(verdict.status)) : undefined }
}

/** Undefined if another process was at it: it is looked at often, and nothing happens. */
function deliveryTold({ entry }: Job, result: PartResult): Told | undefined {
  if (result === untouched) return undefined
  const { kind, attempts, statusCode } = result
  const failure = 'failure' in result ? result.failure : undefined
  const attributes = {
    // What it took over may have given it another id.
    delivery_id: entry.id,
    // The words of the delivery log.
    state: kind === 'unowned' ? 'failed' : kind,
    attempts,
    status_code: statusCode,
    ...('recorded' in result && result.recorded ? { deduplicated: true } : {}),
    ...('heldBack' in result && result.heldBack ? { held_back: result.heldBack } : {}),
    ...('step' in result ? { step: result.step } : {}),
    ...(failure ? failureTold(failure) : {})
  }
  const isLost = kind === 'refused' || kind === 'unowned'
  return { attributes, failed: isLost ? (failure?.reason ?? kind) : undefined }
}

function failureTold({ type, reason }: { readonly type: string; readonly reason: string }): Attributes {
  return { error_type: type, error_reason: reason }
}

function whereTo({ entry, live }: Job): Attributes {
  return {
    publish_id: entry.publish_id,
    target_name: live.name,
    target_type: live.type,
    alert_count: entry.alerts.length
  }
}

/** To the publishes whose alerts the attempt carries besides its own. */
function linksOf({ folded }: Job): Link[] {
  return folded.flatMap(({ traceparent }) => {
    const context = traceparent === undefined ? null : parseTraceParent(traceparent)
    return context ? [{ context }] : []
  })
}

function parentOf(traceparent: string | undefined, isRemote = false): Context {
  const parent = traceparent === undefined ? null : parseTraceParent(traceparent)
  return parent ? trace.setSpanContext(ROOT_CONTEXT, { ...parent, isRemote }) : ROOT_CONTEXT
}

function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}

/** Logs when exports begin to fail and when they work again, in words that hold no address. */
function complaining(exporter: SpanExporter, log: Logger): SpanExporter {
  let failing = false
  return {
    export(spans, done) {
      exporter.export(spans, result => {
        const failed = result.code !== ExportResultCode.SUCCESS
        if (failed && !failing) log.warn({ spans: spans.length }, 'traces cannot be exported: they are thrown away')
        if (!failed && failing) log.info('traces are exported again')
        failing = failed
        done(result)
      })
    },
    shutdown: () => exporter.shutdown()
  }
}
