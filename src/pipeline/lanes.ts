/**
 * Lanes keep what concerns one alert at one target in the order in which it was accepted: whoever takes some gets all
 * of them or waits for all of them, and each lane is first come, first served.
 */
export interface Lanes {
  /** Takes its place in all lanes at once. */
  take(names: readonly string[]): Ticket
  /** Takes all lanes if each is free now; else undefined, and nothing was taken. */
  tryTake(names: readonly string[]): Ticket | undefined
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

interface Place extends Ticket {
  readonly names: readonly string[]
  behind: number
  wake: (() => void) | undefined
}

export function createLanes(): Lanes {
  // Most lanes hold one ticket at most: only a second one makes it a queue.
  const lanes = new Map<string, Place | Place[]>()

  const enter = (place: Place, name: string): void => {
    const there = lanes.get(name)
    if (there === undefined) lanes.set(name, place)
    else {
      place.behind++
      if (Array.isArray(there)) there.push(place)
      else lanes.set(name, [there, place])
    }
  }
  const quit = (place: Place, name: string): void => {
    const there = lanes.get(name)
    if (!Array.isArray(there)) {
      lanes.delete(name)
      return
    }
    const index = there.indexOf(place)
    there.splice(index, 1)
    if (there.length === 1) lanes.set(name, there[0]!)
    const next = there[0]
    if (index === 0 && next && --next.behind === 0) next.wake?.()
  }
  const open = (names: readonly string[]): Place => {
    let left = false
    const place: Place = {
      names,
      behind: 0,
      wake: undefined,
      get ready() {
        return place.behind === 0
      },
      wait: () => (place.behind === 0 ? Promise.resolve() : new Promise(resolve => (place.wake = resolve))),
      leave() {
        if (left) return
        left = true
        place.wake = undefined
        for (const name of names) quit(place, name)
      }
    }
    for (const name of names) enter(place, name)
    return place
  }

  return {
    take: open,
    tryTake: names => (names.some(name => lanes.has(name)) ? undefined : open(names)),
    size: () => lanes.size
  }
}
