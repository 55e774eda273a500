import type { FastifyInstance } from 'fastify'

export interface PageRoutes {
  readonly version: string
}

/** The status page for people. */
export function pageRoutes(_app: FastifyInstance, _deps: PageRoutes): void {}
