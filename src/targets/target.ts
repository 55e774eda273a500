import { createHash } from 'node:crypto'
import type { Alert } from '../alert.js'
import { type Problem, type Reading, reader } from '../schema.js'
import { secretsIn } from '../secret.js'
import type { OpenTarget, TargetKind } from './contract.js'
import { compileFilter } from './filter.js'
import { kinds } from './registry.js'
import { commonProblems, type TargetSettings } from './settings.js'

/** A destination ready for use: its settings checked, its filter compiled, its kind opened. Never changed, only replaced. */
export interface Target {
  readonly name: string
  readonly type: string
  readonly settings: TargetSettings
  readonly kind: TargetKind
  readonly wire: OpenTarget
  /** Whether the filter lets this alert through. */
  accepts(alert: Alert): boolean
  /** Changes whenever anything in the settings does: a hash, safe to show. */
  readonly version: string
  /** What must never be shown of it. */
  readonly secrets: readonly string[]
}

const readers = new Map(Object.values(kinds).map(kind => [kind.type, reader(kind.schema)]))

/**
 * Reads one target as a person wrote it. `fallbackName` is used where it has none (the Secret's or file's name); `root`
 * stands before every field in the problems, which never carry a value.
 */
export function readTarget(raw: unknown, fallbackName?: string, root = ''): Reading<Target> {
  if (raw === null || typeof raw !== 'object' || Array.isArray(raw)) {
    return refused({
      field: root || 'target',
      message: 'is not an object',
      suggestion: 'write name, type, url and so on as fields'
    })
  }
  const input = { ...(fallbackName === undefined ? {} : { name: fallbackName }), ...raw } as Record<string, unknown>
  const read = typeof input.type === 'string' ? readers.get(input.type) : undefined
  if (!read) {
    const field = root ? `${root}.type` : 'type'
    return refused({
      field,
      message: 'is not a known target type',
      suggestion: `use one of: ${[...readers.keys()].join(', ')}`
    })
  }
  const reading = read(input, root)
  if (!reading.ok) return reading
  const settings = reading.value as TargetSettings
  const filter = compileFilter(settings.filter, root ? `${root}.filter` : 'filter')
  if (!filter.ok) return filter
  const kind = kinds[settings.type]!
  const problems = [...commonProblems(settings, root), ...(kind.check?.(settings, root) ?? [])]
  if (problems.length > 0) return { ok: false, problems }
  const version = createHash('sha256').update(JSON.stringify(input)).digest().toString('hex', 0, 8)
  return {
    ok: true,
    value: {
      name: settings.name,
      type: settings.type,
      settings,
      kind,
      wire: kind.open(settings),
      accepts: filter.value,
      version,
      secrets: secretsIn(settings)
    }
  }
}

function refused(problem: Problem): { ok: false; problems: Problem[] } {
  return { ok: false, problems: [problem] }
}
