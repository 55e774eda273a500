import type { FastifyInstance } from 'fastify'

export interface MetricsRoutes {
  text(): Promise<string>
  readonly contentType: string
  /** A request was answered; `route` is its pattern. */
  onResponse(route: string, method: string, statusCode: number, seconds: number): void
}

/** Prometheus' own text. */
export function metricsRoutes(app: FastifyInstance, deps: MetricsRoutes): void {
  app.get(
    '/metrics',
    { config: { role: 'open' }, schema: { summary: 'Prometheus metrics', tags: ['status'], produces: ['text/plain'] } },
    async (_request, reply) => {
      return reply.header('content-type', deps.contentType).send(await deps.text())
    }
  )
}
