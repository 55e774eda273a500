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

/** The names as a ticket wants them: each once. */
export function distinct(names: readonly string[]): readonly string[] {
  return names.length === 1 ? names : [...new Set(names)]
}

export function createLanes(): Lanes {
  return new Crossing()
}

/** A class, since each target has one: its functions as closures would be most of its size. */
class Crossing implements Lanes {
  readonly #lanes = new Map<string, Lane>()

  take(names: readonly string[]): Ticket {
    return new Place(this.#lanes, names)
  }

  tryTake(names: readonly string[]): Ticket | undefined {
    return names.some(name => this.#lanes.has(name)) ? undefined : this.take(names)
  }

  has(name: string): boolean {
    return this.#lanes.has(name)
  }

  size(): number {
    return this.#lanes.size
  }
}

/** Who has a lane, and who waits for it. */
interface Lane {
  first: Place | undefined
  readonly others: Place[]
}

/**
 * A lane lasts as long as one delivery. They are used again, by any target, since a Map that makes room leaves an old
 * table behind with all that was in it, which the garbage collector would carry along.
 */
const spare: Lane[] = []
const mostSpare = 1_000

class Place implements Ticket {
  /** Lanes in which somebody is ahead. */
  #behind = 0
  #left = false
  #wake: (() => void) | undefined

  constructor(
    private readonly lanes: Map<string, Lane>,
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
    const lane = this.lanes.get(name)
    if (lane) {
      this.#behind++
      lane.others.push(this)
      return
    }
    const own = spare.pop() ?? { first: undefined, others: [] }
    own.first = this
    this.lanes.set(name, own)
  }

  #quit(name: string): void {
    const lane = this.lanes.get(name)!
    if (lane.first !== this) {
      lane.others.splice(lane.others.indexOf(this), 1)
      return
    }
    lane.first = lane.others.shift()
    if (lane.first) {
      lane.first.#moveUp()
      return
    }
    this.lanes.delete(name)
    if (spare.length < mostSpare) spare.push(lane)
  }

  #moveUp(): void {
    if (--this.#behind === 0) this.#wake?.()
  }
}
