import { type Depth, type Place, type Priority, priorities } from './contract.js'
import { type Heap, heap, type Slots } from './heap.js'

/** Which records wait where, held in memory: the index behind `due`, `earliest`, `depths` and `weakest`. */
export interface DueIndex {
  get(id: string): Place | undefined
  size(): number
  /** Puts a record at its place, or takes it out with null. `expiresAt`: when it is to be forgotten. */
  set(id: string, place: Place | null, expiresAt: number | undefined): void
  due(target: string, priority: Priority, now: number, limit: number): string[]
  earliest(): Map<string, number>
  /** Moves the places that lie later and returns their ids. O(1) if there are none. */
  hasten(target: string, dueAt: number): string[]
  owed(target: string): number
  depths(): Depth[]
  weakest(target: string, limit: number): string[]
  /** Ids whose end has come, at most `limit`. They stay until they are set to null. */
  ended(now: number, limit: number): string[]
}

/** What one target is owed with one priority. */
interface Bucket {
  readonly target: string
  readonly priority: Priority
  readonly byDue: Heap<number>
  readonly byAge: Heap<number>
}

interface Room {
  readonly buckets: Readonly<Record<Priority, Bucket>>
  size: number
  /** No place lies later than this. */
  latest: number
}

const weakestFirst = priorities.toReversed()

/**
 * An empty index; every change is O(log n), so that 100,000 entries are loaded in a fraction of a second. A place is a
 * row of these columns: as an object of its own, with its numbers, it would be five things that every garbage
 * collection looks at, and with 100,000 of them whoever publishes meanwhile would pay for that.
 */
export function dueIndex(): DueIndex {
  const rows = new Map<string, number>()
  const rooms = new Map<string, Room>()
  const ids: string[] = []
  const buckets: Bucket[] = []
  const dueAt: number[] = []
  const acceptedAt: number[] = []
  const expiresAt: number[] = []
  const dueSlots = slotsOfRows()
  const ageSlots = slotsOfRows()
  const free: number[] = []
  const byEnd = heap((a, b) => expiresAt[a]! < expiresAt[b]!, slotsOfRows())

  /** Ties go by id, so that every store gives the same order. */
  const sooner = (a: number, b: number) => dueAt[a]! < dueAt[b]! || (dueAt[a] === dueAt[b] && ids[a]! < ids[b]!)
  const older = (a: number, b: number) =>
    acceptedAt[a]! < acceptedAt[b]! || (acceptedAt[a] === acceptedAt[b] && ids[a]! < ids[b]!)

  const bucketOf = (target: string, priority: Priority): Bucket => {
    return { target, priority, byDue: heap(sooner, dueSlots), byAge: heap(older, ageSlots) }
  }

  const roomOf = (target: string): Room => {
    let room = rooms.get(target)
    if (!room) {
      const [high, medium, low] = [bucketOf(target, 'high'), bucketOf(target, 'medium'), bucketOf(target, 'low')]
      rooms.set(target, (room = { buckets: { high, medium, low }, size: 0, latest: -Infinity }))
    }
    return room
  }

  const idsOf = (some: readonly number[]) => some.map(row => ids[row]!)

  const takeOut = (row: number) => {
    const { target, byDue, byAge } = buckets[row]!
    const room = rooms.get(target)!
    byDue.remove(row)
    byAge.remove(row)
    if (expiresAt[row]! < Infinity) byEnd.remove(row)
    rows.delete(ids[row]!)
    ids[row] = ''
    free.push(row)
    if (--room.size === 0) rooms.delete(target)
    // The end of an outage gives back what it took.
    if (rooms.size === 0) for (const column of [ids, buckets, dueAt, acceptedAt, expiresAt, free]) column.length = 0
  }

  const putIn = (id: string, place: Place, end: number) => {
    const room = roomOf(place.target)
    const bucket = room.buckets[place.priority]
    const row = free.pop() ?? ids.length
    ids[row] = id
    buckets[row] = bucket
    dueAt[row] = place.dueAt
    acceptedAt[row] = place.acceptedAt
    expiresAt[row] = end
    bucket.byDue.add(row)
    bucket.byAge.add(row)
    if (end < Infinity) byEnd.add(row)
    rows.set(id, row)
    room.size++
    room.latest = Math.max(room.latest, place.dueAt)
  }

  const placeAt = (row: number): Place => {
    const { target, priority } = buckets[row]!
    return { target, priority, dueAt: dueAt[row]!, acceptedAt: acceptedAt[row]! }
  }

  return {
    get(id) {
      const row = rows.get(id)
      return row === undefined ? undefined : placeAt(row)
    },
    size: () => rows.size,
    set(id, place, end = Infinity) {
      const row = rows.get(id)
      if (row !== undefined) {
        if (place && expiresAt[row] === end && same(placeAt(row), place)) return
        takeOut(row)
      }
      if (place) putIn(id, place, end)
    },
    due(target, priority, now, limit) {
      const found = rooms.get(target)?.buckets[priority].byDue.first(limit, row => dueAt[row]! <= now)
      return found ? idsOf(found) : []
    },
    earliest() {
      const times = new Map<string, number>()
      for (const [target, { buckets }] of rooms) {
        const firsts = priorities.flatMap(priority => buckets[priority].byDue.top() ?? [])
        times.set(target, Math.min(...firsts.map(row => dueAt[row]!)))
      }
      return times
    },
    hasten(target, at) {
      const room = rooms.get(target)
      if (!room || room.latest <= at) return []
      const moved: string[] = []
      for (const priority of priorities) {
        const { byDue } = room.buckets[priority]
        for (const row of byDue.all()) {
          if (dueAt[row]! <= at) continue
          dueAt[row] = at
          moved.push(ids[row]!)
        }
        byDue.reorder()
      }
      room.latest = at
      return moved
    },
    owed: target => rooms.get(target)?.size ?? 0,
    depths: () => [...rooms].map(([target, { buckets }]) => depthOf(target, buckets)),
    weakest(target, limit) {
      const room = rooms.get(target)
      const found: number[] = []
      for (const priority of room ? weakestFirst : [])
        found.push(...room!.buckets[priority].byAge.first(limit - found.length, () => true))
      return idsOf(found)
    },
    ended: (now, limit) => idsOf(byEnd.first(limit, row => expiresAt[row]! <= now))
  }

  function depthOf(target: string, buckets: Room['buckets']): Depth {
    const counts: Record<Priority, number> = { high: 0, medium: 0, low: 0 }
    const oldest: Partial<Record<Priority, number>> = {}
    for (const priority of priorities) {
      const { byAge } = buckets[priority]
      const top = byAge.top()
      counts[priority] = byAge.size()
      if (top !== undefined) oldest[priority] = acceptedAt[top]!
    }
    return { target, counts, oldest }
  }
}

function same(a: Place, b: Place): boolean {
  return a.dueAt === b.dueAt && a.priority === b.priority && a.target === b.target && a.acceptedAt === b.acceptedAt
}

/** Heaps that have no row in common may share it. */
function slotsOfRows(): Slots<number> {
  const slots: number[] = []
  return {
    of: row => slots[row]!,
    put(row, position) {
      slots[row] = position
    }
  }
}
