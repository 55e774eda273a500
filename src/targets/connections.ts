import { Client, type Dispatcher } from 'undici'

interface Waiting {
  readonly request: Dispatcher.DispatchOptions
  readonly handler: Dispatcher.DispatchHandler
}

/**
 * One target's connections to one origin: opened when they are needed, at most `limit`, one request at a time on each. Who
 * finds none free waits in line. undici's Pool does the same at 20 KiB more, since it has room for 2048 who wait from the
 * start, and makes one client more than it uses.
 */
export class Connections {
  readonly #clients: Client[] = []
  readonly #free: Client[] = []
  readonly #waiting: Waiting[] = []

  constructor(
    private readonly origin: string,
    private readonly limit: number,
    private readonly options: Client.Options
  ) {}

  dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    const client = this.#free.pop() ?? (this.#clients.length < this.limit ? this.#open() : undefined)
    if (client) this.#send(client, request, handler)
    else this.#waiting.push({ request, handler })
  }

  /** Lets what runs and what waits end first. Nothing is dispatched any more. */
  close(): Promise<unknown> {
    this.#leave()
    return Promise.all(this.#clients.map(client => client.close()))
  }

  /** Breaks off what runs, and what waits. */
  destroy(): Promise<unknown> {
    this.#leave()
    return Promise.all(this.#clients.map(client => client.destroy()))
  }

  /** Leaves those who wait to the clients, which have lines of their own and end them with all else. */
  #leave(): void {
    for (const [index, { request, handler }] of this.#waiting.splice(0).entries())
      this.#clients[index % this.#clients.length]!.dispatch(request, handler)
  }

  #open(): Client {
    const client = new Client(this.origin, this.options)
    client.on('drain', () => this.#isFree(client)).on('connectionError', () => this.#forget(client))
    this.#clients.push(client)
    return client
  }

  #send(client: Client, request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    // It takes no more until its `drain`; that never comes if it refused the request itself.
    if (client.dispatch(request, handler) || client.stats.size === 0) this.#isFree(client)
  }

  #isFree(client: Client): void {
    if (!this.#clients.includes(client)) return
    const next = this.#waiting.shift()
    if (next) this.#send(client, next.request, next.handler)
    else if (!this.#free.includes(client)) this.#free.push(client)
  }

  /** A client that could not connect may stay busy for ever (undici, issue 3895). */
  #forget(client: Client): void {
    const index = this.#clients.indexOf(client)
    if (index < 0) return
    this.#clients.splice(index, 1)
    const next = this.#waiting.shift()
    if (next) this.dispatch(next.request, next.handler)
  }
}
