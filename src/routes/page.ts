import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Access } from '../access.js'
import { ApiError } from '../errors.js'
import { markupOf } from '../page/html.js'
import { openLetters } from '../page/letters.js'
import { iconOf, isMark } from '../page/marks.js'
import { signInPage, statusPage } from '../page/page.js'
import { readState, type StateDeps } from '../page/state.js'
import type { QueueRoutes } from './queue.js'

export interface PageRoutes extends Omit<StateDeps, 'letters'> {
  readonly access: Access
  readonly queue: Pick<QueueRoutes, 'store'>
}

const asset = (name: string): string => readFileSync(new URL(`../page/assets/${name}`, import.meta.url), 'utf8')

/** Nothing from elsewhere, nothing inline, no frames: whatever an alert says, it cannot become more than text. */
const pageHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()'
}

/**
 * The status page for people. The page's script asks for it again with the reader's token and takes over what changed, so
 * that there is one place that words and escapes.
 */
export function pageRoutes(app: FastifyInstance, { access, queue, ...deps }: PageRoutes): void {
  const letters = openLetters(queue.store, deps.status.now)
  const script = asset('page.js')
  const style = asset('page.css')
  const assets = createHash('sha256').update(script).update(style).digest('hex').slice(0, 12)
  const open = { config: { role: 'open' as const } }
  const lasting = (reply: FastifyReply, type: string) =>
    reply
      .header('content-type', `${type}; charset=utf-8`)
      .header('cache-control', 'public, max-age=31536000, immutable')
      .header('cross-origin-resource-policy', 'same-origin')

  app.get(
    '/',
    {
      ...open,
      schema: {
        summary: 'The status page for people',
        description: 'Where tokens are set it shows nothing until a token that may read is sent along.',
        tags: ['status'],
        produces: ['text/html']
      }
    },
    async (request, reply) => {
      const refusal = access.check(request.headers, request.method, 'read')
      // Whoever shows a token is told that it does not do; whoever shows none is shown the way in.
      if (refusal && request.headers.authorization !== undefined) throw new ApiError(refusal.code)
      const page = refusal
        ? signInPage({ assets })
        : statusPage(await readState({ ...deps, letters }), {
            assets,
            guarded: access.guarded,
            mayAct: access.check(request.headers, request.method, 'admin') === undefined
          })
      return reply
        .headers(pageHeaders)
        .header('content-type', 'text/html; charset=utf-8')
        .header('cache-control', 'no-store')
        .header('vary', 'authorization')
        .send(markupOf(page))
    }
  )
  const hidden = { ...open, schema: { hide: true } }
  app.get('/page.js', hidden, (_request, reply) => lasting(reply, 'text/javascript').send(script))
  app.get('/page.css', hidden, (_request, reply) => lasting(reply, 'text/css').send(style))
  app.get('/page/:mark.svg', hidden, (request, reply) => {
    const { mark } = request.params as { mark: string }
    if (!isMark(mark)) throw new ApiError('NOT_FOUND')
    return lasting(reply, 'image/svg+xml').send(markupOf(iconOf(mark)))
  })
}
