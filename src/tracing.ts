import { hostname } from 'node:os'
import {
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
import type { Job } from './pipeline/job.js'
import type { Span, Tracer } from './pipeline/tracer.js'
import { attemptTold, brokenOff, deliveryTold, publishTold, type Told, whereTo } from './tracing/told.js'

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
        return begin('attempt', parentOf(job.traceparent), options, attemptTold)
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
