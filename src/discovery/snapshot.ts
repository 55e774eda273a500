import { dnsLabel, type Problem, type Reading } from '../schema.js'
import { readTarget, type Target } from '../targets/target.js'
import type { Invalid, Snapshot } from './contract.js'

/** A place where a target stands, and what was read there. */
export interface Entry {
  /** Tells over time that it is the same one: a Secret's namespace and name, a file, a name within a file. */
  readonly key?: string
  /** Where it stands among others, by which one that lost its key is known again. */
  readonly position?: string
  readonly source: string
  readonly name?: string
  readonly reading: Reading<Target>
}

/** `readTarget`, with a bug in a kind contained to the one target that it concerns. */
export function readEntry(raw: unknown, fallbackName?: string, root = ''): Reading<Target> {
  try {
    return readTarget(raw, fallbackName, root)
  } catch {
    const field = root || 'target'
    return { ok: false, problems: [{ field, message: 'could not be read', suggestion: 'report this as a bug' }] }
  }
}

/** The name that an unreadable target was meant to have, if it is one that may be shown. */
export function nameOf(raw: unknown, fallbackName?: string): string | undefined {
  const name = raw !== null && typeof raw === 'object' && 'name' in raw ? raw.name : fallbackName
  return typeof name === 'string' && new RegExp(dnsLabel).test(name) ? name : undefined
}

/**
 * Turns what stands everywhere now into the whole picture, remembering the picture before: an entry that became invalid
 * keeps its last valid version (stale), of two with one name the first wins, and what did not change stays the same
 * object, so that its pool and breaker survive.
 */
export function openPicture(): (entries: readonly Entry[]) => Snapshot {
  let last = new Map<string, Target>()
  let current = new Map<string, Target>()
  return entries => {
    const kept = new Map<string, Target>()
    const targets = new Map<string, Target>()
    const invalid: Invalid[] = []
    const claim = (target: Target, { key, position }: Entry): boolean => {
      const before = current.get(target.name)
      const same = before?.version === target.version ? before : target
      for (const place of [key, position]) if (place !== undefined && !kept.has(place)) kept.set(place, same)
      if (targets.has(target.name)) return false
      targets.set(target.name, same)
      return true
    }
    const nameless: Array<{ entry: Entry; index: number }> = []
    for (const entry of entries) {
      const { reading, source, name, key } = entry
      if (reading.ok) {
        const first = claim(reading.value, entry)
        if (!first) invalid.push({ source, name: reading.value.name, problems: [duplicate], stale: false })
        continue
      }
      const before = key === undefined ? undefined : last.get(key)
      const stale = before !== undefined && claim(before, entry)
      if (key === undefined) nameless.push({ entry, index: invalid.length })
      invalid.push({ source, name: name ?? before?.name, problems: reading.problems, stale })
    }
    // Only once every name is taken: what lost its name is the target that stood there, unless that one just moved.
    for (const { entry, index } of nameless) {
      const before = last.get(entry.position ?? '')
      if (!before || targets.has(before.name)) continue
      claim(before, entry)
      invalid[index] = { ...invalid[index]!, name: before.name, stale: true }
    }
    last = kept
    current = targets
    return { targets: [...targets.values()], invalid }
  }
}

const duplicate: Problem = { field: 'name', message: 'duplicate name', suggestion: 'rename or remove one of the two' }
