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
  let most = limit === 0 ? Number.POSITIVE_INFINITY : limit
  let used = 0
  const first: ((taken: boolean) => void)[] = []
  const then: ((taken: boolean) => void)[] = []

  const admit = (): void => {
    while (used < most) {
      const next = first.shift() ?? then.shift()
      if (!next) return
      used++
      next(true)
    }
  }
  return {
    tryTake() {
      if (used >= most) return false
      used++
      return true
    },
    take(urgent = false) {
      let settle: (taken: boolean) => void = () => {}
      const taken = new Promise<boolean>(resolve => (settle = resolve))
      const waiting = urgent ? first : then
      waiting.push(settle)
      admit()
      return {
        taken,
        cancel() {
          const index = waiting.indexOf(settle)
          if (index >= 0) waiting.splice(index, 1)
          settle(false)
        }
      }
    },
    give() {
      used--
      admit()
    },
    inUse: () => used,
    resize(next) {
      most = next === 0 ? Number.POSITIVE_INFINITY : next
      admit()
    }
  }
}
