import type { Database, RootDatabase } from 'lmdb'
import { type Place, StoreUnavailable } from './contract.js'
import type { Tables } from './disk.js'
import { rewriteJournal } from './journal.js'

/** The form in which this version keeps its data. A new one needs an upgrade from the one before. */
const currentSchema = 3

/** From each older form to the next. They run in one transaction with the new number: all or nothing. */
const upgrades: Record<number, (tables: OlderTables, dir: string) => void> = {
  1: addPriorities,
  2: takeOutJournal
}

/** The journal of schema 1 and 2 was a table. */
type OlderTables = Tables & { readonly journal: Database<string, number> }

/** Whether a directory has an older form, or none yet. A newer one is refused: this version would lose what that holds. */
export function needsUpgrade(tables: Tables): boolean {
  const text = tables.meta.get('schema')
  if (text !== undefined && !/^\d+$/.test(text))
    throw new StoreUnavailable('the queue directory is damaged: no schema number')
  const found = Number(text ?? 0)
  if (found > currentSchema) {
    throw new StoreUnavailable(
      `the queue directory has schema ${found}, this version knows ${currentSchema}: use the newer version again`
    )
  }
  return found < currentSchema
}

/** Brings a directory up to the current form. */
export async function upgrade(env: RootDatabase<string, string>, tables: Tables, dir: string): Promise<void> {
  const found = Number(tables.meta.get('schema') ?? currentSchema)
  const older = (): OlderTables => ({
    ...tables,
    journal: env.openDB<string, number>({ name: 'journal', encoding: 'string' })
  })
  const steps = found < currentSchema ? older() : undefined
  env.transactionSync(() => {
    for (let schema = found; schema < currentSchema; schema++) upgrades[schema]!(steps!, dir)
    tables.meta.putSync('schema', String(currentSchema))
  })
}

interface JournalEntry {
  next: number
  groups: { at: number; changes: { place?: Place | null }[] }[]
}

/** Schema 1 had no priorities: what it owed counts as medium. */
function addPriorities({ places, journal }: OlderTables): void {
  for (const { key, value } of [...places.getRange()]) {
    const [target, dueAt, acceptedAt, expiresAt] = JSON.parse(value)
    places.putSync(key, JSON.stringify([target, 'medium', dueAt, acceptedAt, expiresAt ?? null]))
  }
  for (const { key, value } of [...journal.getRange()]) {
    const entry = JSON.parse(value) as JournalEntry
    for (const { changes } of entry.groups) {
      for (const change of changes) if (change.place) change.place = { ...change.place, priority: 'medium' }
    }
    journal.putSync(key, JSON.stringify(entry))
  }
}

/** The journal is one of files from schema 3 on. The transaction may fail behind this: then it is written once more. */
function takeOutJournal({ journal }: OlderTables, dir: string): void {
  rewriteJournal(
    dir,
    [...journal.getRange()].map(({ value }) => value)
  )
  for (const { key } of [...journal.getRange()]) journal.removeSync(key)
}
