/** Room for so many at once; who finds none waits in line. */
export interface Slots {
  /** Whether there is room now; if so it is taken. */
  tryTake(): boolean
  /** Resolves with true once room was taken, or with false after `cancel` was called. Urgent ones go first. */
  take(urgent?: boolean): { taken: Promise<boolean>; cancel(): void }
  give(): void
  inUse(): number
  resize(limit: number): void
}

/** `limit` 0 means no limit. */
export function createSlots(limit: number): Slots {
  let most = limit === 0 ? Number.POSITIVE_INFINITY : limit
  let used = 0
  const waiting: ((taken: boolean) => void)[] = []

  const admit = (): void => {
    while (used < most && waiting.length > 0) {
      used++
      waiting.shift()!(true)
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
      if (urgent) waiting.unshift(settle)
      else waiting.push(settle)
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
