import type { IncomingMessage, ServerResponse } from 'node:http'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * Of a publish: called once its answer is through, or nobody is there for it any more. Returns what is still done for it,
     * which never rejects.
     */
    over: (() => Promise<unknown> | undefined) | undefined
  }
}

/**
 * Calls back once an answer is through, or nobody is there for it any more. One that waits behind others of its connection
 * has not got that yet, and hears nothing of its own when the caller hangs up.
 */
export function onceOver({ socket }: IncomingMessage, answer: ServerResponse, over: () => void): void {
  if (answer.socket) {
    answer.once('close', over)
    return
  }
  const once = (): void => {
    socket.off('close', once)
    answer.off('close', once)
    over()
  }
  // As many as there are requests on their way.
  socket.setMaxListeners(0)
  socket.once('close', once)
  answer.once('close', once)
}
