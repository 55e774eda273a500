/** A record: named fields that change one by one. Values are what JSON can hold. */
export type Fields = Record<string, unknown>

/** One change of one record. Changes of one `write` are applied in order, all or none. */
export interface Change {
  readonly id: string
  /** Fields to set, `null` removes one; with `replace` they are all that it has afterwards. Not to be changed later. */
  readonly set?: Fields
  readonly replace?: boolean
  /**
   * What fields were when the change was made, `null` where there was none: if one is another by now, the `write` rejects
   * with `Overtaken`. Only where the store is shared, and not for what is noted.
   */
  readonly was?: Fields
  /** Whoever makes it knows that there is no such record: none need be looked for. */
  readonly anew?: boolean
  /** Changes nothing where there is no record. Not with `replace`. */
  readonly update?: boolean
  /** Removes the record and its place in every index. */
  readonly drop?: boolean
  /** Does so if no field is left. Not with `replace` or `update`. */
  readonly tidy?: boolean
  /** When the record may be forgotten, in milliseconds since the epoch; Infinity: never. Absent: as it was, else never. */
  readonly expiresAt?: number
  /** The record's place in the queue: set for what is owed, `null` takes it out. Absent: as it was. */
  readonly place?: Place | null
}

/** Where an owed record waits. */
export interface Place {
  readonly target: string
  readonly priority: Priority
  /** When it may be tried next, in milliseconds since the epoch. */
  readonly dueAt: number
  /** When it was accepted: what its age counts from. */
  readonly acceptedAt: number
}

export const priorities = ['high', 'medium', 'low'] as const
export type Priority = (typeof priorities)[number]

/** How much one target is owed. */
export interface Depth {
  readonly target: string
  readonly counts: Readonly<Record<Priority, number>>
  /** When the oldest of each priority was accepted; absent where there is none. */
  readonly oldest: Readonly<Partial<Record<Priority, number>>>
}

/** The right to act for some lanes until `release`; others are kept out meanwhile, also other processes. */
export interface Hold {
  readonly lanes: readonly string[]
  /** Those that another process had and was gone without giving back: nobody knows what it did there last. */
  readonly inherited?: readonly string[]
  /** Whether the hold still stands: false once a lease could not be renewed in time. */
  valid(): boolean
}

/**
 * Where owed entries, the ledger, what targets have, and dead letters are kept. It knows nothing of alerts: the rules
 * are the pipeline's, so every member behaves alike. All methods reject with `StoreUnavailable` when the store cannot
 * be reached or written.
 */
export interface Store {
  readonly backend: 'embedded' | 'redis' | 'memory'
  /** Whether what was written outlives the process. */
  readonly durable: boolean
  /** Whether other processes use it too: only then are `hold` and `release` needed. */
  readonly shared: boolean
  /**
   * When it was last opened after a process that had ended without closing it, in milliseconds since the epoch: what that
   * one noted last may be missing. 0: never; so where the store is shared, as what others must know of is written before
   * anybody acts on it.
   */
  readonly interruptedAt: number
  /**
   * The records' fields, in the order asked for; undefined where there is none or it has expired. Not to be changed.
   * `only` names, for each record, the fields that are needed: others may be missing then.
   */
  read(
    ids: readonly string[],
    only?: readonly (readonly string[] | undefined)[]
  ): (Fields | undefined)[] | Promise<(Fields | undefined)[]>
  /**
   * Resolves once the changes are durable: on disk, or acknowledged. Later reads see them at once. Rejected, they were
   * not made; only where Redis gave no answer they may have been.
   */
  write(changes: readonly Change[], hold?: Hold): Promise<void>
  /**
   * Like `write` but nobody waits for it: it becomes durable soon, and is kept and tried again if the store fails. The
   * changes are the store's own from then on.
   */
  note(changes: readonly Change[]): void
  /** Like `note` with one field of one record: what is said of it shortly after each other becomes one change. */
  mark(id: string, field: string, value: unknown, expiresAt: number): void
  /** Takes all of the lanes or, if another process has one of them, none: then undefined. */
  hold(lanes: readonly string[]): Hold | undefined | Promise<Hold | undefined>
  release(hold: Hold): void
  /** Those of the lanes that some process has now. Only where the store is shared: else the pipeline knows by itself. */
  taken?(lanes: readonly string[]): Promise<readonly string[]>
  /** A number larger than any given before, in any process that shares the store. */
  next(): number | Promise<number>
  /** Ids of the target's entries of that priority that are due, longest due first, at most `limit`. */
  due(target: string, priority: Priority, now: number, limit: number): string[] | Promise<string[]>
  /** The earliest `dueAt` of each target that is owed anything. */
  earliest(): Map<string, number> | Promise<Map<string, number>>
  /** Moves every place of the target that lies later than `dueAt` to it. */
  hasten(target: string, dueAt: number): Promise<void>
  /** How many entries the target is owed. */
  owed(target: string): number | Promise<number>
  depths(): Depth[] | Promise<Depth[]>
  /** Ids of the target's entries to give up when its room is full: lowest priority, then oldest accepted, at most `limit`. */
  weakest(target: string, limit: number): string[] | Promise<string[]>
  /**
   * Records whose id starts with `prefix`, in id order, strictly after `after`: at most `limit`, and fewer where they are
   * large. None at all: there are no more. `only` as for `read`.
   */
  list(
    prefix: string,
    after: string | undefined,
    limit: number,
    only?: readonly string[]
  ): Promise<{ id: string; fields: Fields }[]>
  /** What an operator should know: reachable, and warnings such as an append-only file that is off. */
  status(): StoreStatus | Promise<StoreStatus>
  close(): Promise<void>
}

export interface StoreStatus {
  readonly backend: string
  readonly available: boolean
  readonly warnings: readonly string[]
  /** Writes that are kept because the store failed, and will be tried again. */
  readonly unwritten: number
}

/** The store cannot be reached or written. Carries a cause, and a message that is safe to show. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable'
}

/** Others changed meanwhile what a change goes by: nothing was written, and it can be made anew. */
export class Overtaken extends StoreUnavailable {}

/** The hold was lost, so that others may be at it: nothing was written. */
export class LeaseLost extends StoreUnavailable {}

/** `: ENOSPC` and the like, where the system gave one. */
export function reason(cause: unknown): string {
  const { code } = cause as NodeJS.ErrnoException
  return typeof code === 'string' ? `: ${code}` : ''
}

/** What to say of a file that is not as it was written. */
export function damaged(file: string, problem: string): StoreUnavailable {
  return new StoreUnavailable(
    `${file} is damaged (${problem}): restore the queue directory, or move it away to start with nothing`
  )
}

const pageSize = 500

/** All records whose id starts with `prefix`, in id order, strictly after `after`, read page by page. `only` as for `list`. */
export async function* everyRecord(
  store: Pick<Store, 'list'>,
  prefix: string,
  only: readonly string[],
  after?: string
): AsyncGenerator<Fields> {
  for (let last = after; ; ) {
    const page = await store.list(prefix, last, pageSize, only)
    if (page.length === 0) return
    for (const { fields } of page) yield fields
    last = page.at(-1)!.id
  }
}

/**
 * An object for fields of any names. V8 keeps a shape for every name that is written into a literal, or a copy of one, and
 * where names are ids there is no end of them.
 */
export const noFields = (): Fields => Object.create(null) as Fields

export function oneField(name: string, value: unknown): Fields {
  const fields = noFields()
  fields[name] = value
  return fields
}
