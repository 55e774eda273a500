import type { Attempted } from './attempt.js'
import type { Job, PartResult } from './job.js'
import type { Published, PublishRequest } from './publish.js'

/** Something under way that a trace shows. */
export interface Span<Outcome> {
  /** W3C trace context with this span as the parent of what it leads to. */
  readonly traceparent: string
  /** Call it once; without an outcome it broke off. */
  end(outcome: Outcome | undefined): void
}

/** Shows a publish, its deliveries and their attempts as one trace. The pipeline does without where nobody wants traces. */
export interface Tracer {
  /** Goes on with the caller's trace, if the request came with one. */
  publish(request: PublishRequest): Span<Published>
  /** Below the job's `traceparent`: that of its publish, out of the queue as well. */
  delivery(job: Job): Span<PartResult>
  /** Below the job's `traceparent`, which is its delivery's by then. */
  attempt(job: Job): Span<Attempted>
}
