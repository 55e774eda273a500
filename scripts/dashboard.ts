import { writeFileSync } from 'node:fs'

// Writes the Grafana dashboard of the chart: npx tsx scripts/dashboard.ts --write

export const dashboardFile = new URL('../helm/dashboards/alert-fanout.json', import.meta.url)

const prefix = 'alert_history_publishing_'
const here = 'namespace=~"$namespace"'
const ofTarget = `${here}, target_name=~"$target"`

/** A metric with the dashboard's selection. */
const own = (name: string, selection = here) => `${prefix}${name}{${selection}}`
const perSecond = (name: string, by: string, selection = here) =>
  `sum by (${by}) (rate(${own(name, selection)}[$__rate_interval]))`
const quantile = (share: number, name: string, by = '') =>
  `histogram_quantile(${share}, sum by (${by === '' ? 'le' : `${by}, le`}) (rate(${own(`${name}_bucket`)}[$__rate_interval])))`
/** Of a state that every replica tells, the worst. */
const worst = (name: string, by: string) =>
  `max by (${by}) (${own(name, by.includes('target_name') ? ofTarget : here)})`

interface Panel {
  title: string
  description?: string
  type: 'timeseries' | 'stat' | 'state-timeline'
  unit?: string
  /** Expression and legend of each line. */
  lines: [expr: string, legend: string][]
  /** Colours from a value on, the first from the beginning. */
  steps?: [color: string, from: number][]
  /** What values are called. */
  names?: Record<number, [text: string, color: string]>
}

const time = (title: string, unit: string, lines: Panel['lines'], description?: string): Panel => ({
  title,
  unit,
  lines,
  type: 'timeseries',
  ...(description === undefined ? {} : { description })
})
const stat = (title: string, unit: string, expr: string, steps: Panel['steps'], description?: string): Panel => ({
  ...time(title, unit, [[expr, '']], description),
  type: 'stat',
  ...(steps ? { steps } : {})
})
const states = (title: string, line: Panel['lines'][number], names: Panel['names']): Panel => ({
  title,
  type: 'state-timeline',
  lines: [line],
  ...(names ? { names } : {})
})

const failures = `sum(rate(${own('parallel_targets_failure_total')}[$__rate_interval]))`
const successes = `sum(rate(${own('parallel_targets_success_total')}[$__rate_interval]))`
const percentiles = (name: string): Panel['lines'] => [
  [quantile(0.5, name), 'p50'],
  [quantile(0.95, name), 'p95'],
  [quantile(0.99, name), 'p99']
]

const rows: Record<string, Panel[]> = {
  'At a glance': [
    stat(
      'Critical alerts without a person',
      'short',
      `max(${own('undelivered_criticals')})`,
      [
        ['green', 0],
        ['red', 1]
      ],
      'Accepted, and no pager or chat has them yet.'
    ),
    stat('Oldest of them', 's', `max(${own('undelivered_critical_oldest_age_seconds')})`, [
      ['green', 0],
      ['red', 60]
    ]),
    stat('Failures at targets', 'percentunit', `${failures} / (${failures} + ${successes})`, [
      ['green', 0],
      ['orange', 0.02],
      ['red', 0.1]
    ]),
    stat('p99 of publishes', 's', quantile(0.99, 'parallel_duration_seconds'), [
      ['green', 0],
      ['orange', 2],
      ['red', 5]
    ]),
    stat('Owed', 'short', `max(sum by (instance) (${own('queue_size')}))`, [
      ['green', 0],
      ['orange', 100],
      ['red', 1000]
    ]),
    stat('Dead letters', 'short', `sum(max by (namespace, target_name) (${own('dlq_size')}))`, [
      ['green', 0],
      ['orange', 1]
    ])
  ],
  Publish: [
    time('Publishes', 'reqps', [
      [perSecond('parallel_total', 'result'), '{{result}}'],
      [`sum(rate(${own('parallel_cancelled_total')}[$__rate_interval]))`, 'cancelled']
    ]),
    time('How long they take', 's', percentiles('parallel_duration_seconds')),
    time('Alerts received', 'cps', [
      [perSecond('alerts_received_total', 'status'), '{{status}}'],
      [`sum(rate(${own('alerts_invalid_total')}[$__rate_interval]))`, 'invalid']
    ]),
    time('Deliveries in flight', 'short', [[`sum by (namespace) (${own('parallel_goroutines')})`, '{{namespace}}']]),
    time(
      'Time to first human',
      's',
      percentiles('time_to_first_human_seconds'),
      'From acceptance of a critical alert until a pager or chat has it.'
    ),
    time('Requests', 'reqps', [
      [
        `sum by (route, status) (rate(http_request_duration_seconds_count{${here}}[$__rate_interval]))`,
        '{{route}} {{status}}'
      ]
    ])
  ],
  Targets: [
    time('Delivered', 'cps', [
      [perSecond('parallel_targets_success_total', 'target_name', ofTarget), '{{target_name}}']
    ]),
    time('Failed', 'cps', [
      [
        perSecond('parallel_targets_failure_total', 'target_name, error_type', ofTarget),
        '{{target_name}} {{error_type}}'
      ]
    ]),
    time('Left out', 'cps', [
      [
        perSecond('parallel_targets_skipped_total', 'target_name, skip_reason', ofTarget),
        '{{target_name}} {{skip_reason}}'
      ]
    ]),
    time('Attempts that failed', 'cps', [
      [
        perSecond('delivery_attempts_total', 'target_name, error_reason', `${ofTarget}, error_reason!=""`),
        '{{target_name}} {{error_reason}}'
      ]
    ]),
    time('p99 of attempts', 's', [
      [quantile(0.99, 'delivery_attempt_duration_seconds', 'target_type'), '{{target_type}}']
    ]),
    time('p99 until delivered, retries included', 's', [
      [quantile(0.99, 'delivery_end_to_end_seconds', 'priority'), '{{priority}}']
    ]),
    states('Circuit', [worst('circuit_breaker_state', 'target_name'), '{{target_name}}'], {
      0: ['closed', 'green'],
      1: ['half open', 'orange'],
      2: ['open', 'red']
    }),
    time('Circuits opened and closed', 'short', [
      [
        `sum by (target_name) (increase(${own('circuit_breaker_trips_total', ofTarget)}[$__rate_interval]))`,
        '{{target_name}} opened'
      ],
      [
        `sum by (target_name) (increase(${own('circuit_breaker_recoveries_total', ofTarget)}[$__rate_interval]))`,
        '{{target_name}} closed'
      ]
    ]),
    time('Duplicates not sent', 'cps', [
      [perSecond('duplicates_suppressed_total', 'target_name', ofTarget), '{{target_name}}']
    ]),
    time('Fields cut to fit', 'cps', [
      [perSecond('payload_truncations_total', 'target_name, field', ofTarget), '{{target_name}} {{field}}']
    ]),
    time('Targets of publishes', 'cps', [[perSecond('parallel_targets_total', 'target_type'), '{{target_type}}']])
  ],
  Queue: [
    time(
      'Owed',
      'short',
      [[worst('queue_size', 'priority'), '{{priority}}']],
      'With a shared queue every replica tells the whole.'
    ),
    time('Age of the oldest', 's', [[worst('queue_oldest_age_seconds', 'priority'), '{{priority}}']]),
    time('Handed to the queue', 'cps', [
      [perSecond('queue_submissions_total', 'priority, result'), '{{priority}} {{result}}']
    ]),
    time('Worked off', 'cps', [
      [perSecond('jobs_processed_total', 'target_name, state', ofTarget), '{{target_name}} {{state}}']
    ]),
    time('Retries by the error before', 'cps', [
      [perSecond('retry_attempts_total', 'target_name, error_type', ofTarget), '{{target_name}} {{error_type}}']
    ]),
    time('p99 of waiting for a worker', 's', [[quantile(0.99, 'job_wait_time_seconds', 'priority'), '{{priority}}']]),
    time('p99 of attempts out of the queue', 's', [
      [quantile(0.99, 'job_duration_seconds', 'target_type, priority'), '{{target_type}} {{priority}}']
    ]),
    time('Workers', 'short', [
      [`sum(${own('workers_active')})`, 'active'],
      [`sum(${own('workers_idle')})`, 'idle']
    ]),
    time('Dead letters', 'short', [[worst('dlq_size', 'target_name'), '{{target_name}}']]),
    time('Given up and replayed', 'short', [
      [
        `sum by (target_name, error_reason) (increase(${own('dlq_writes_total', ofTarget)}[$__rate_interval]))`,
        '{{target_name}} {{error_reason}}'
      ],
      [
        `sum by (target_name, result) (increase(${own('dlq_replays_total', ofTarget)}[$__rate_interval]))`,
        '{{target_name}} replayed: {{result}}'
      ]
    ]),
    states('Store', [`min by (namespace) (${own('queue_available')})`, '{{namespace}}'], {
      0: ['away', 'red'],
      1: ['there', 'green']
    })
  ],
  Health: [
    states('Health', [worst('target_health_status', 'target_name'), '{{target_name}}'], {
      0: ['unknown', 'text'],
      1: ['healthy', 'green'],
      2: ['degraded', 'orange'],
      3: ['unhealthy', 'red']
    }),
    time('Failures in a row', 'short', [[worst('target_consecutive_failures', 'target_name'), '{{target_name}}']]),
    time('Share of checks that succeeded', 'percentunit', [
      [`min by (target_name) (${own('target_success_rate', ofTarget)})`, '{{target_name}}']
    ]),
    time('Checks', 'cps', [[perSecond('health_checks_total', 'status'), '{{status}}']]),
    time('Failed checks', 'cps', [
      [
        perSecond('health_check_errors_total', 'target_name, error_reason', ofTarget),
        '{{target_name}} {{error_reason}}'
      ]
    ]),
    time('p99 of checks', 's', [[quantile(0.99, 'health_check_duration_seconds', 'target_type'), '{{target_type}}']])
  ],
  Discovery: [
    time('Targets', 'short', [[worst('discovery_targets', 'type, enabled'), '{{type}} enabled={{enabled}}']]),
    time('Definitions read', 'cps', [[perSecond('discovery_secrets_total', 'status'), '{{status}}']]),
    time('Looks that failed', 'cps', [[perSecond('discovery_errors_total', 'error_type'), '{{error_type}}']]),
    time('p99 of looks', 's', [[quantile(0.99, 'discovery_duration_seconds', 'operation'), '{{operation}}']]),
    time('Since the last look', 's', [
      [
        `time() - max by (namespace) (${own('discovery_last_success_timestamp_seconds')})`,
        '{{namespace}} that succeeded'
      ],
      [
        `time() - max by (namespace) (${own('discovery_last_error_timestamp_seconds')} > 0)`,
        '{{namespace}} that failed'
      ]
    ]),
    time('Refreshes', 'short', [
      [`sum by (status) (increase(${own('refresh_total')}[$__rate_interval]))`, '{{status}}'],
      [`sum(${own('refresh_in_progress')})`, 'under way']
    ]),
    time('p99 of refreshes', 's', [[quantile(0.99, 'refresh_duration_seconds', 'status'), '{{status}}']]),
    states('Mode', [`max by (namespace) (${own('mode_current')})`, '{{namespace}}'], {
      0: ['normal', 'green'],
      1: ['metrics-only', 'orange']
    }),
    time('Changes of the mode', 'short', [
      [`sum by (namespace) (increase(${own('mode_transitions_total')}[$__rate_interval]))`, '{{namespace}}']
    ])
  ],
  Process: [
    time('CPU', 'percentunit', [[`rate(process_cpu_seconds_total{${here}}[$__rate_interval])`, '{{instance}}']]),
    time('Memory', 'bytes', [[`process_resident_memory_bytes{${here}}`, '{{instance}}']]),
    time('p99 of the event loop’s lag', 's', [[`nodejs_eventloop_lag_p99_seconds{${here}}`, '{{instance}}']])
  ]
}

const datasource = { type: 'prometheus', uid: '$datasource' }
/** Of Grafana's grid: 24 columns. */
const width = { stat: 4, timeseries: 8, 'state-timeline': 8 }
const height = { stat: 4, timeseries: 8, 'state-timeline': 8 }

/** The dashboard as Grafana imports it. */
export function dashboard(): object {
  const panels: object[] = []
  let y = 0
  for (const [title, all] of Object.entries(rows)) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title,
      collapsed: false,
      gridPos: { x: 0, y: y++, w: 24, h: 1 },
      panels: []
    })
    let x = 0
    let rowHeight = 0
    for (const panel of all) {
      const [w, h] = [width[panel.type], height[panel.type]]
      if (x + w > 24) {
        x = 0
        y += rowHeight
      }
      rowHeight = h
      panels.push({ id: panels.length + 1, ...panelOf(panel), gridPos: { x, y, w, h } })
      x += w
    }
    y += rowHeight
  }
  const { type } = datasource
  const fromMetric = (name: string, label: string, query: string) => ({
    name,
    label,
    type: 'query',
    datasource,
    query: { query, refId: name },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    // Also finds what has no such label, outside of Kubernetes.
    allValue: '.*',
    current: { text: 'All', value: '$__all' }
  })
  return {
    uid: 'alert-fanout',
    title: 'alert-fanout',
    schemaVersion: 39,
    tags: ['alerting'],
    time: { from: 'now-6h', to: 'now' },
    refresh: '30s',
    graphTooltip: 1,
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: type },
        fromMetric('namespace', 'Namespace', `label_values(${prefix}parallel_total, namespace)`),
        fromMetric('target', 'Target', `label_values(${prefix}dlq_size{${here}}, target_name)`)
      ]
    },
    panels
  }
}

function panelOf({ title, description, type, unit, lines, steps, names }: Panel): object {
  const defaults = {
    ...(unit === undefined ? {} : { unit }),
    min: 0,
    ...(steps
      ? {
          thresholds: {
            mode: 'absolute',
            steps: steps.map(([color, value], index) => ({ color, value: index === 0 ? null : value }))
          }
        }
      : {}),
    ...(names
      ? {
          mappings: [
            {
              type: 'value',
              options: Object.fromEntries(
                Object.entries(names).map(([value, [text, color]]) => [value, { text, color }])
              )
            }
          ]
        }
      : {})
  }
  return {
    type,
    title,
    ...(description === undefined ? {} : { description }),
    datasource,
    fieldConfig: { defaults, overrides: [] },
    ...(type === 'timeseries'
      ? { options: { legend: { displayMode: 'list' }, tooltip: { mode: 'multi', sort: 'desc' } } }
      : {}),
    targets: lines.map(([expr, legendFormat], index) => ({
      refId: String.fromCharCode(65 + index),
      datasource,
      expr,
      legendFormat
    }))
  }
}

if (process.argv.includes('--write')) writeFileSync(dashboardFile, `${JSON.stringify(dashboard(), null, 2)}\n`)
