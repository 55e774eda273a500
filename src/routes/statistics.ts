import Type from 'typebox'
import { ApiError } from '../errors.js'
import { Mode, type ModeWatch } from '../mode.js'
import { Duration } from '../schema.js'
import { Statistics, StatisticsHistory, type StatisticsKeeper } from '../statistics.js'
import { bodyObject, ErrorBody, type Routes } from './http.js'

export interface StatisticsRoutes {
  readonly statistics: StatisticsKeeper
  readonly mode: ModeWatch
}

const oneHourMs = 3_600_000

/** Statistics, their last hour, and the mode. */
export function statisticsRoutes(app: Routes, { statistics, mode }: StatisticsRoutes): void {
  app.get(
    '/api/v1/stats',
    {
      config: { role: 'read' },
      schema: { summary: 'Totals, rates and percentiles', tags: ['statistics'], response: { 200: Statistics } }
    },
    async () => statistics.snapshot()
  )
  app.post(
    '/api/v1/stats/reset',
    {
      config: { role: 'admin' },
      schema: { summary: 'Begin to count anew', tags: ['statistics'], response: { 200: Statistics } }
    },
    async request => {
      bodyObject(request.body)
      statistics.reset()
      return statistics.snapshot()
    }
  )
  app.get(
    '/api/v1/stats/history',
    {
      config: { role: 'read' },
      schema: {
        summary: 'Time series of the last hour, with its trend',
        tags: ['statistics'],
        querystring: Type.Object({
          window: Type.Optional(Duration({ description: 'A duration up to 1h.', default: '1h' }))
        }),
        response: { 200: StatisticsHistory, 400: ErrorBody }
      }
    },
    async request => {
      const { window = oneHourMs } = request.query
      if (window === 0 || window > oneHourMs) {
        const problem = { field: 'window', message: 'is not a duration up to 1h', suggestion: 'write it as 15m or 1h' }
        throw new ApiError('INVALID_INPUT', { details: [problem] })
      }
      return statistics.history(window)
    }
  )
  app.get(
    '/api/v1/publishing/mode',
    {
      config: { role: 'read' },
      schema: {
        summary: 'normal, or metrics-only while no target is enabled',
        tags: ['status'],
        response: { 200: Mode }
      }
    },
    async () => mode.view()
  )
}
