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

type Wake = (inTime: boolean) => void

class Bound implements Hurry {
  over = false
  seat = 0
  /** Nearly always there is just one who waits. */
  #first: Wake | undefined
  #others: Wake[] | undefined

  end(): void {
    this.over = true
    const others = this.#others
    this.#first?.(false)
    this.#first = this.#others = undefined
    for (const wake of others ?? []) wake(false)
  }

  beat(promise: Promise<unknown>): Promise<boolean> {
    if (this.over) return Promise.resolve(false)
    return new Promise((resolve, reject) => {
      if (!this.#first) this.#first = resolve
      else (this.#others ??= []).push(resolve)
      promise.then(() => resolve(true), reject)
    })
  }
}

/** For work that nobody waits for: it never has to stop waiting. */
export const unhurried: Hurry = { over: false, seat: 0, end() {}, beat: promise => promise.then(() => true) }
