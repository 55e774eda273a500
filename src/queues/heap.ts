/** A binary heap from which any item can be taken out in O(log n), because it is known where each lies. */
export interface Heap<T> {
  size(): number
  top(): T | undefined
  add(item: T): void
  /** The item must be in the heap. */
  remove(item: T): void
  /** At most `limit` items in order, as long as `wanted` holds. The heap stays as it was. */
  first(limit: number, wanted: (item: T) => boolean): T[]
  /** Every item, in no order. */
  all(): readonly T[]
  /** Puts everything right after items were changed in place. */
  reorder(): void
}

/** Where the position of each item is kept. */
export interface Slots<T> {
  of(item: T): number
  put(item: T, position: number): void
}

/** An empty heap whose top is the item that comes `before` all others. */
export function heap<T>(before: (a: T, b: T) => boolean, slots: Slots<T>): Heap<T> {
  const items: T[] = []

  const put = (item: T, position: number) => {
    items[position] = item
    slots.put(item, position)
  }

  const up = (item: T, start: number) => {
    let position = start
    while (position > 0) {
      const parent = (position - 1) >> 1
      if (!before(item, items[parent]!)) break
      put(items[parent]!, position)
      position = parent
    }
    put(item, position)
  }

  const down = (item: T, start: number) => {
    let position = start
    for (;;) {
      let child = 2 * position + 1
      if (child >= items.length) break
      if (child + 1 < items.length && before(items[child + 1]!, items[child]!)) child++
      if (!before(items[child]!, item)) break
      put(items[child]!, position)
      position = child
    }
    put(item, position)
  }

  const add = (item: T) => {
    items.push(item)
    up(item, items.length - 1)
  }

  const remove = (item: T) => {
    const position = slots.of(item)
    const last = items.pop()!
    if (last === item) return
    if (position > 0 && before(last, items[(position - 1) >> 1]!)) up(last, position)
    else down(last, position)
  }

  return {
    size: () => items.length,
    top: () => items[0],
    add,
    remove,
    first(limit, wanted) {
      const found: T[] = []
      while (found.length < limit && items.length > 0 && wanted(items[0]!)) {
        found.push(items[0]!)
        remove(items[0]!)
      }
      found.forEach(add)
      return found
    },
    all: () => items,
    reorder() {
      for (let position = items.length - 1; position >= 0; position--) down(items[position]!, position)
    }
  }
}
