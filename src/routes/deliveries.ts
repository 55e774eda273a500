import Type, { type Static } from 'typebox'
import { ApiError } from '../errors.js'
import { ErrorBody, pageOf, paging, type Routes } from './http.js'
import { Attempt } from './queue.js'

const deliveryStates = ['delivered', 'queued', 'refused', 'failed', 'nothing'] as const

export const DeliveryView = Type.Object({
  id: Type.String(),
  publish_id: Type.String(),
  target: Type.String(),
  target_type: Type.String(),
  state: Type.Enum([...deliveryStates], {
    description:
      'refused: given up. failed: nobody could own it, the caller was told to try again. nothing: there was nothing to tell, e.g. a newer state came first, or it was merged into another delivery.'
  }),
  alert_name: Type.String({ description: 'Of the first alert.' }),
  alert_status: Type.Enum(['firing', 'resolved'], { description: 'firing if any of its alerts is.' }),
  alert_count: Type.Integer(),
  fingerprints: Type.Array(Type.String(), { description: 'Of the alerts, at most 256 of them.' }),
  accepted_at: Type.String(),
  finished_at: Type.Union([Type.String(), Type.Null()]),
  attempts: Type.Array(Attempt),
  error: Type.Optional(Type.String()),
  error_reason: Type.Optional(Type.String())
})
export type DeliveryView = Static<typeof DeliveryView>

export const DeliveryQuery = Type.Object({
  ...paging,
  state: Type.Optional(Type.Enum([...deliveryStates])),
  target: Type.Optional(Type.String()),
  fingerprint: Type.Optional(Type.String())
})
export type DeliveryQuery = Static<typeof DeliveryQuery>

export interface DeliveryRoutes {
  /** The last deliveries, newest first. */
  list(query: DeliveryQuery): { items: DeliveryView[]; next_cursor: string | null }
  get(id: string): Promise<DeliveryView | undefined>
}

/** The delivery log: the last 10,000 deliveries, each with its attempts. */
export function deliveryRoutes(app: Routes, deps: DeliveryRoutes): void {
  app.get(
    '/api/v1/deliveries',
    {
      config: { role: 'read' },
      schema: {
        summary: 'The last deliveries, newest first',
        tags: ['deliveries'],
        querystring: DeliveryQuery,
        response: { 200: pageOf(DeliveryView), 400: ErrorBody }
      }
    },
    async request => deps.list(request.query)
  )
  app.get(
    '/api/v1/deliveries/:id',
    {
      config: { role: 'read' },
      schema: {
        summary: 'One delivery with every attempt',
        tags: ['deliveries'],
        params: Type.Object({ id: Type.String() }),
        response: { 200: DeliveryView, 404: ErrorBody }
      }
    },
    async request => {
      const view = await deps.get(request.params.id)
      if (!view) throw new ApiError('NOT_FOUND', { message: 'no delivery of the last ones has this id' })
      return view
    }
  )
}
