/** Room for so many at once; who finds none waits in line. */
export interface Slots {
  /** Whether there is room now; if so it is taken. */
  tryTake(): boolean
  /** Resolves with true once room was taken, or with false after `cancel` was called. First come, first served, urgent ones before others. */
  take(urgent?: boolean): { taken: Promise<boolean>; cancel(): void }
  give(): void
  inUse(): number
  resize(limit: number): void
}

/** `limit` 0 means no limit. */
export function createSlots(limit: number): Slots {
  return new Room(limit)
}

type Settle = (taken: boolean) => void

/** A class, since each target has one: its functions as closures would be most of its size. */
class Room implements Slots {
  #most: number
  #used = 0
  readonly #first: Settle[] = []
  readonly #then: Settle[] = []

  constructor(limit: number) {
    this.#most = mostOf(limit)
  }

  tryTake(): boolean {
    if (this.#used >= this.#most) return false
    this.#used++
    return true
  }

  take(urgent = false) {
    let settle: Settle = () => {}
    const taken = new Promise<boolean>(resolve => (settle = resolve))
    const waiting = urgent ? this.#first : this.#then
    waiting.push(settle)
    this.#admit()
    return {
      taken,
      cancel() {
        const index = waiting.indexOf(settle)
        if (index >= 0) waiting.splice(index, 1)
        settle(false)
      }
    }
  }

  give(): void {
    this.#used--
    this.#admit()
  }

  inUse(): number {
    return this.#used
  }

  resize(limit: number): void {
    this.#most = mostOf(limit)
    this.#admit()
  }

  #admit(): void {
    while (this.#used < this.#most) {
      const next = this.#first.shift() ?? this.#then.shift()
      if (!next) return
      this.#used++
      next(true)
    }
  }
}

const mostOf = (limit: number): number => (limit === 0 ? Number.POSITIVE_INFINITY : limit)
