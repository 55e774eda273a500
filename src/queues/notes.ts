import { type Change, oneField, type Store } from './contract.js'

/** Longest that a note waits for more of its record, in milliseconds. */
const longestMs = 10

/**
 * A store whose notes wait a moment for each other: what one publish says of a record, target by target, becomes one
 * change. Whoever reads, or writes anything else, sees all that was noted before.
 */
export function gatherNotes(store: Store): Store {
  let waiting = new Map<
    string,
    { id: string; set: Record<string, unknown>; replace: boolean; expiresAt: number | undefined }
  >()
  let timer: NodeJS.Timeout | undefined

  const flush = (): void => {
    if (waiting.size === 0) return
    clearTimeout(timer)
    timer = undefined
    const changes = [...waiting.values()]
    waiting = new Map()
    store.note(changes)
  }
  const gather = ({ id, set, replace = false, expiresAt }: Change): void => {
    const known = waiting.get(id)
    if (!known || replace) {
      waiting.set(id, { id, set: { ...set }, replace: replace || known?.replace === true, expiresAt })
      return
    }
    for (const name in set) known.set[name] = set[name]
    known.expiresAt = expiresAt ?? known.expiresAt
  }
  const settled =
    <A extends unknown[], R>(method: (...args: A) => R) =>
    (...args: A): R => {
      flush()
      return method.apply(store, args)
    }

  const wait = (): void => {
    timer ??= setTimeout(flush, longestMs)
  }

  return {
    backend: store.backend,
    durable: store.durable,
    shared: store.shared,
    interruptedAt: store.interruptedAt,
    note(changes) {
      // Only plain fields can wait: a place in the queue is looked at by others, and what depends on the record on nothing else.
      if (changes.some(change => change.drop || change.place !== undefined || change.update || change.tidy)) {
        flush()
        store.note(changes)
        return
      }
      for (const change of changes) gather(change)
      wait()
    },
    mark(id, field, value, expiresAt) {
      const known = waiting.get(id)
      if (known) {
        known.set[field] = value
        known.expiresAt = expiresAt
      } else {
        waiting.set(id, { id, set: oneField(field, value), replace: false, expiresAt })
        wait()
      }
    },
    read(ids, only) {
      if (waiting.size > 0 && ids.some(id => waiting.has(id))) flush()
      return store.read(ids, only)
    },
    write: settled(store.write),
    list: settled(store.list),
    close: settled(store.close),
    hold: lanes => store.hold(lanes),
    // Whoever takes the lanes next, in whatever process, must find what was noted.
    release: settled(store.release),
    ...(store.taken ? { taken: store.taken } : {}),
    next: () => store.next(),
    due: (target, priority, now, limit) => store.due(target, priority, now, limit),
    earliest: () => store.earliest(),
    hasten: (target, dueAt) => store.hasten(target, dueAt),
    owed: target => store.owed(target),
    depths: () => store.depths(),
    weakest: (target, limit) => store.weakest(target, limit),
    status: () => store.status()
  }
}
