import t from 'tap'
import type { Alert } from '../../src/alert.js'
import { compileFilter } from '../../src/targets/filter.js'
import type { Filter } from '../../src/targets/settings.js'

const alert = (labels: Record<string, string>, more: Partial<Alert> = {}): Alert => ({
  alert_name: 'NodeDown',
  fingerprint: '00',
  status: 'firing',
  labels,
  annotations: {},
  starts_at: '2026-01-01T00:00:00Z',
  ...more
})

function passes(filter: Filter, alert: Alert): boolean {
  const compiled = compileFilter(filter, 'filter')
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems))
  return compiled.value(alert)
}

const noise = { classification: { severity: 'noise' as const } }
const sure = (confidence?: number) => ({ classification: { severity: 'critical' as const, confidence } })

const cases: [what: string, filter: Filter, alert: Alert, passes: boolean][] = [
  ['a listed severity', { severities: ['critical', 'warning'] }, alert({ severity: 'warning' }), true],
  ['a severity that is not listed', { severities: ['critical'] }, alert({ severity: 'warning' }), false],
  ['no severity at all', { severities: ['critical'] }, alert({}), false],
  ['a classification against its label', { severities: ['critical'] }, alert({ severity: 'info' }, sure()), true],
  ['a label against its classification', { severities: ['critical'] }, alert({ severity: 'critical' }, noise), false],
  ['a listed namespace', { namespaces: ['prod'] }, alert({ namespace: 'prod' }), true],
  ['another namespace', { namespaces: ['prod'] }, alert({ namespace: 'dev' }), false],
  ['no namespace', { namespaces: ['prod'] }, alert({}), true],
  ['an empty namespace', { namespaces: ['prod'] }, alert({ namespace: '' }), true],
  ['equal labels', { match_labels: { team: 'ops', env: 'prod' } }, alert({ team: 'ops', env: 'prod', x: 'y' }), true],
  ['one label that differs', { match_labels: { team: 'ops', env: 'prod' } }, alert({ team: 'ops', env: 'dev' }), false],
  ['an absent label', { match_labels: { team: 'ops' } }, alert({}), false],
  ['an absent label that should be empty', { match_labels: { team: '' } }, alert({}), true],
  ['matchers that all hold', { matchers: ['a=~"x|y"', 'env!="dev"'] }, alert({ a: 'y' }), true],
  ['matchers of which one fails', { matchers: ['a=~"x|y"', 'env!="dev"'] }, alert({ a: 'y', env: 'dev' }), false],
  ['a list of matchers in one text', { matchers: ['{a="x", b="y"}'] }, alert({ a: 'x', b: 'z' }), false],
  ['an absent label that a matcher wants', { matchers: ['a=~".+"'] }, alert({}), false],
  ['an absent label that a matcher forbids', { matchers: ['a!~".+"'] }, alert({}), true],
  ['a label that every object inherits', { matchers: ['constructor=""', '"__proto__"=""'] }, alert({}), true],
  ['a name in which the pattern is found', { alert_name_pattern: 'Down' }, alert({}), true],
  ['a name that starts otherwise', { alert_name_pattern: '^Down' }, alert({}), false],
  ['noise', { exclude_noise: true }, alert({}, noise), false],
  ['noise where it is wanted', { exclude_noise: false }, alert({}, noise), true],
  ['what is not classified', { exclude_noise: true, min_confidence: 0.9 }, alert({ severity: 'noise' }), true],
  ['enough confidence', { min_confidence: 0.5 }, alert({}, sure(0.5)), true],
  ['too little confidence', { min_confidence: 0.5 }, alert({}, sure(0.49)), false],
  ['a confidence that nobody told', { min_confidence: 0.5 }, alert({}, sure()), true],
  ['anything, by an empty filter', {}, alert({}), true],
  [
    'one test that fails among many',
    { namespaces: ['prod'], severities: ['info'] },
    alert({ namespace: 'prod' }),
    false
  ]
]
for (const [what, filter, alert, expected] of cases) {
  t.test(`${expected ? 'passes' : 'stops'} ${what}`, async t => t.equal(passes(filter, alert), expected))
}

t.test('without a filter one shared function passes everything', async t => {
  const one = compileFilter(undefined, 'filter')
  const two = compileFilter(undefined, 'filter')
  t.ok(one.ok && two.ok && one.value === two.value && one.value(alert({})))
})

t.test('every matcher and pattern that cannot be read is a problem of its own', async t => {
  const matchers = ['ok="x"', 'a="b', '{a="b", c=~"x[", d!~"("}']
  t.strictSame(compileFilter({ matchers, alert_name_pattern: '(?=x)' }, 'targets[1].filter'), {
    ok: false,
    problems: [
      {
        field: 'targets[1].filter.matchers[1]',
        message: 'is not a matcher',
        suggestion: 'write it as name="value" with =, !=, =~ or !~, several in one pair of { }'
      },
      {
        field: 'targets[1].filter.matchers[2]',
        message: 'is not a pattern: missing closing ]',
        suggestion: 'write it in RE2 syntax'
      },
      {
        field: 'targets[1].filter.matchers[2]',
        message: 'is not a pattern: missing closing )',
        suggestion: 'write it in RE2 syntax'
      },
      {
        field: 'targets[1].filter.alert_name_pattern',
        message: 'is not a pattern: invalid or unsupported Perl syntax',
        suggestion: 'write it in RE2 syntax'
      }
    ]
  })
})
