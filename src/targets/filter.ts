import { RE2JSException } from 're2js'
import { type Alert, severityOf } from '../alert.js'
import type { Problem, Reading } from '../schema.js'
import { matches, parseMatchers } from './matcher.js'
import { patternOf } from './pattern.js'
import type { Filter } from './settings.js'

type Test = (alert: Alert) => boolean

const everything: Test = () => true

/**
 * Makes a filter ready: every test that it names must hold. Matchers and patterns that cannot be read are problems,
 * never ignored; `root` stands before their field names. Without a filter everything passes, by one shared function.
 */
export function compileFilter(filter: Filter | undefined, root: string): Reading<Test> {
  const problems: Problem[] = []
  const tests: Test[] = []
  const { severities, namespaces, match_labels, matchers, alert_name_pattern, min_confidence } = filter ?? {}
  if (severities) {
    const wanted = new Set(severities)
    tests.push(alert => wanted.has(severityOf(alert) ?? ''))
  }
  if (namespaces) {
    const wanted = new Set(['', ...namespaces])
    tests.push(alert => wanted.has(labelOf(alert, 'namespace')))
  }
  for (const [name, value] of Object.entries(match_labels ?? {})) tests.push(alert => labelOf(alert, name) === value)
  matchers?.forEach((text, index) => {
    readMatchers(text, `${root}.matchers[${index}]`, tests, problems)
  })
  if (alert_name_pattern !== undefined) {
    readPattern(`${root}.alert_name_pattern`, problems, () => {
      const pattern = patternOf(alert_name_pattern)
      tests.push(alert => pattern.test(alert.alert_name))
    })
  }
  if (filter?.exclude_noise) tests.push(alert => alert.classification?.severity !== 'noise')
  if (min_confidence !== undefined) tests.push(alert => (alert.classification?.confidence ?? 1) >= min_confidence)
  if (problems.length > 0) return { ok: false, problems }
  return { ok: true, value: tests.length === 0 ? everything : allOf([...tests]) }
}

// In functions of their own: what is kept for as long as the target is keeps nothing else of how it was read.
const allOf =
  (tests: readonly Test[]): Test =>
  alert =>
    tests.every(test => test(alert))
const labelTest =
  (name: string, holds: (label: string) => boolean): Test =>
  alert =>
    holds(labelOf(alert, name))

function readMatchers(text: string, field: string, tests: Test[], problems: Problem[]): void {
  const parsed = parseMatchers(text)
  if (!parsed.ok) {
    const suggestion = 'write it as name="value" with =, !=, =~ or !~, several in one pair of { }'
    problems.push({ field, message: parsed.message, suggestion })
    return
  }
  for (const matcher of parsed.matchers) {
    readPattern(field, problems, () => {
      tests.push(labelTest(matcher.name, matches(matcher)))
    })
  }
}

function readPattern(field: string, problems: Problem[], compile: () => void): void {
  try {
    compile()
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error
    const reason = 'error' in error ? `: ${error.error}` : ''
    problems.push({ field, message: `is not a pattern${reason}`, suggestion: 'write it in RE2 syntax' })
  }
}

/** An absent label is the same as an empty one, as everywhere in Prometheus. */
function labelOf(alert: Alert, name: string): string {
  return Object.hasOwn(alert.labels, name) ? (alert.labels[name] ?? '') : ''
}
