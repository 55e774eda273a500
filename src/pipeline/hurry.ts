/** A publish's bound on waiting: once it is over, whoever still waits for its turn stops waiting. */
export interface Hurry {
  readonly over: boolean
  end(): void
  /** True once the promise resolved, or false if the bound came first. */
  beat(promise: Promise<unknown>): Promise<boolean>
}

export function createHurry(): Hurry {
  let over = false
  const wake: (() => void)[] = []
  return {
    get over() {
      return over
    },
    end() {
      over = true
      for (const each of wake.splice(0)) each()
    },
    beat(promise) {
      if (over) return Promise.resolve(false)
      return new Promise((resolve, reject) => {
        wake.push(() => resolve(false))
        promise.then(() => resolve(true), reject)
      })
    }
  }
}

/** For work that nobody waits for: it never has to stop waiting. */
export const unhurried: Hurry = { over: false, end() {}, beat: promise => promise.then(() => true) }
