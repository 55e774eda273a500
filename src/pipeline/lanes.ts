/**
 * Lanes keep what concerns one alert at one target in the order in which it was accepted: whoever takes some gets all
 * of them or waits for all of them, and each lane is first come, first served.
 */
export interface Lanes {
  /** Takes its place in all lanes at once. Each name stands there once, or the ticket would wait for itself. */
  take(names: readonly string[]): Ticket
  /** Takes all lanes if each is free now; else undefined, and nothing was taken. */
  tryTake(names: readonly string[]): Ticket | undefined
  /** Whether anybody has or waits for a lane. */
  has(name: string): boolean
  /** Lanes with anyone in them, for the leak test. */
  size(): number
}

export interface Ticket {
  /** Whether all lanes are its own by now. */
  readonly ready: boolean
  /** Resolves once they are. Never, if it is left before. */
  wait(): Promise<void>
  /** Gives up every lane, and every place in a lane. Harmless the second time. */
  leave(): void
}

export function createLanes(): Lanes {
  // Most lanes hold one ticket at most: only a second one makes it a queue.
  const lanes = new Map<string, Place | Place[]>()
  return {
    take: names => new Place(lanes, names),
    tryTake: names => (names.some(name => lanes.has(name)) ? undefined : new Place(lanes, names)),
    has: name => lanes.has(name),
    size: () => lanes.size
  }
}

class Place implements Ticket {
  /** Lanes in which somebody is ahead. */
  #behind = 0
  #left = false
  #wake: (() => void) | undefined

  constructor(
    private readonly lanes: Map<string, Place | Place[]>,
    private readonly names: readonly string[]
  ) {
    for (const name of names) this.#enter(name)
  }

  get ready(): boolean {
    return this.#behind === 0
  }

  wait(): Promise<void> {
    if (this.ready) return Promise.resolve()
    return new Promise(resolve => {
      this.#wake = resolve
    })
  }

  leave(): void {
    if (this.#left) return
    this.#left = true
    this.#wake = undefined
    for (const name of this.names) this.#quit(name)
  }

  #enter(name: string): void {
    const there = this.lanes.get(name)
    if (there === undefined) this.lanes.set(name, this)
    else {
      this.#behind++
      if (Array.isArray(there)) there.push(this)
      else this.lanes.set(name, [there, this])
    }
  }

  #quit(name: string): void {
    const there = this.lanes.get(name)
    if (!Array.isArray(there)) {
      this.lanes.delete(name)
      return
    }
    const index = there.indexOf(this)
    there.splice(index, 1)
    const [next] = there
    if (there.length === 1) this.lanes.set(name, next!)
    if (index === 0 && next) next.#moveUp()
  }

  #moveUp(): void {
    if (--this.#behind === 0) this.#wake?.()
  }
}
