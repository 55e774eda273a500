/** A publish's bound on waiting: once it is over, whoever still waits for its turn stops waiting. */
export interface Hurry {
  readonly over: boolean
  /** Its place among those under way. */
  seat: number
  end(): void
  /** True once the promise resolved, or false if the bound came first. */
  beat(promise: Promise<unknown>): Promise<boolean>
}

export function createHurry(): Hurry {
  return new Bound()
}

class Bound implements Hurry {
  over = false
  seat = 0
  #wake: (() => void)[] | undefined

  end(): void {
    this.over = true
    const waiting = this.#wake
    this.#wake = undefined
    for (const wake of waiting ?? []) wake()
  }

  beat(promise: Promise<unknown>): Promise<boolean> {
    if (this.over) return Promise.resolve(false)
    return new Promise((resolve, reject) => {
      this.#wake ??= []
      this.#wake.push(() => resolve(false))
      promise.then(() => resolve(true), reject)
    })
  }
}

/** For work that nobody waits for: it never has to stop waiting. */
export const unhurried: Hurry = { over: false, seat: 0, end() {}, beat: promise => promise.then(() => true) }
