import { type Depth, type Place, type Priority, priorities } from './contract.js'
import { type Heap, heap } from './heap.js'

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

interface Item {
  readonly id: string
  readonly target: string
  readonly priority: Priority
  dueAt: number
  readonly acceptedAt: number
  readonly expiresAt: number
  dueSlot: number
  ageSlot: number
  endSlot: number
}

/** What one target is owed with one priority. */
interface Bucket {
  readonly byDue: Heap<Item>
  readonly byAge: Heap<Item>
}

interface Room {
  readonly buckets: Readonly<Record<Priority, Bucket>>
  size: number
  /** No place lies later than this. */
  latest: number
}

const weakestFirst = priorities.toReversed()

/** An empty index; every change is O(log n), so that 100,000 entries are loaded in a fraction of a second. */
export function dueIndex(): DueIndex {
  const items = new Map<string, Item>()
  const rooms = new Map<string, Room>()
  const byEnd = heap<'endSlot', Item>((a, b) => a.expiresAt < b.expiresAt, 'endSlot')

  const takeOut = (item: Item) => {
    const room = rooms.get(item.target)!
    room.buckets[item.priority].byDue.remove(item)
    room.buckets[item.priority].byAge.remove(item)
    if (item.expiresAt < Infinity) byEnd.remove(item)
    items.delete(item.id)
    if (--room.size === 0) rooms.delete(item.target)
  }

  const putIn = (item: Item) => {
    const room = rooms.get(item.target) ?? emptyRoom()
    rooms.set(item.target, room)
    room.buckets[item.priority].byDue.add(item)
    room.buckets[item.priority].byAge.add(item)
    if (item.expiresAt < Infinity) byEnd.add(item)
    items.set(item.id, item)
    room.size++
    room.latest = Math.max(room.latest, item.dueAt)
  }

  return {
    get(id) {
      const item = items.get(id)
      return item && { target: item.target, priority: item.priority, dueAt: item.dueAt, acceptedAt: item.acceptedAt }
    },
    size: () => items.size,
    set(id, place, expiresAt = Infinity) {
      const old = items.get(id)
      if (old && place && same(old, place) && old.expiresAt === expiresAt) return
      if (old) takeOut(old)
      if (!place) return
      const { target, priority, dueAt, acceptedAt } = place
      putIn({ id, target, priority, dueAt, acceptedAt, expiresAt, dueSlot: 0, ageSlot: 0, endSlot: 0 })
    },
    due(target, priority, now, limit) {
      const found = rooms.get(target)?.buckets[priority].byDue.first(limit, item => item.dueAt <= now)
      return found?.map(item => item.id) ?? []
    },
    earliest() {
      const times = new Map<string, number>()
      for (const [target, { buckets }] of rooms) {
        times.set(target, Math.min(...priorities.map(priority => buckets[priority].byDue.top()?.dueAt ?? Infinity)))
      }
      return times
    },
    hasten(target, dueAt) {
      const room = rooms.get(target)
      if (!room || room.latest <= dueAt) return []
      const moved: string[] = []
      for (const priority of priorities) {
        const { byDue } = room.buckets[priority]
        for (const item of byDue.all()) {
          if (item.dueAt <= dueAt) continue
          item.dueAt = dueAt
          moved.push(item.id)
        }
        byDue.reorder()
      }
      room.latest = dueAt
      return moved
    },
    owed: target => rooms.get(target)?.size ?? 0,
    depths: () => [...rooms].map(([target, { buckets }]) => depthOf(target, buckets)),
    weakest(target, limit) {
      const room = rooms.get(target)
      const ids: string[] = []
      for (const priority of room ? weakestFirst : [])
        for (const { id } of room!.buckets[priority].byAge.first(limit - ids.length, () => true)) ids.push(id)
      return ids
    },
    ended: (now, limit) => byEnd.first(limit, item => item.expiresAt <= now).map(item => item.id)
  }
}

function same(a: Place, b: Place): boolean {
  return a.dueAt === b.dueAt && a.priority === b.priority && a.target === b.target && a.acceptedAt === b.acceptedAt
}

function emptyRoom(): Room {
  return { buckets: { high: emptyBucket(), medium: emptyBucket(), low: emptyBucket() }, size: 0, latest: -Infinity }
}

/** Ties go by id, so that every store gives the same order. */
function emptyBucket(): Bucket {
  return {
    byDue: heap<'dueSlot', Item>((a, b) => a.dueAt < b.dueAt || (a.dueAt === b.dueAt && a.id < b.id), 'dueSlot'),
    byAge: heap<'ageSlot', Item>(
      (a, b) => a.acceptedAt < b.acceptedAt || (a.acceptedAt === b.acceptedAt && a.id < b.id),
      'ageSlot'
    )
  }
}

function depthOf(target: string, buckets: Room['buckets']): Depth {
  const counts: Record<Priority, number> = { high: 0, medium: 0, low: 0 }
  const oldest: Partial<Record<Priority, number>> = {}
  for (const priority of priorities) {
    const { byAge } = buckets[priority]
    counts[priority] = byAge.size()
    if (byAge.size() > 0) oldest[priority] = byAge.top()!.acceptedAt
  }
  return { target, counts, oldest }
}
