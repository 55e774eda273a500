/** What a metric is: its help, its type and the names of its labels. Buckets in the metric's own unit. */
export interface Definition<T extends Type = Type, L extends readonly string[] = readonly string[]> {
  readonly type: T
  readonly help: string
  readonly labels: L
  readonly buckets?: readonly number[]
}

type Type = 'counter' | 'gauge' | 'histogram'

/** One counter or gauge: whoever has it changes `value`. */
export interface Value {
  value: number
}

/** One histogram. */
export interface Distribution {
  observe(value: number): void
}

/** All series of one metric. */
export interface Family<S, L extends readonly string[]> {
  readonly labels: L
  /** The series with these label values, at 0 if it is new. */
  at(...labels: { [I in keyof L]: string }): S
  /** Forgets every series whose first label has this value; without one, all of them. */
  drop(first?: string): void
  /** In the Prometheus text format; source: "Exposition formats", version 0.0.4. */
  text(): string
}

/** The families of a table of definitions, under the same names. */
export type Families<T extends Record<string, Definition>> = {
  readonly [N in keyof T]: Family<T[N]['type'] extends 'histogram' ? Distribution : Value, T[N]['labels']>
}

export const counter = <const L extends readonly string[]>(help: string, ...labels: L) =>
  ({ type: 'counter', help, labels }) satisfies Definition<'counter', L>

export const gauge = <const L extends readonly string[]>(help: string, ...labels: L) =>
  ({ type: 'gauge', help, labels }) satisfies Definition<'gauge', L>

export const histogram = <const L extends readonly string[]>(help: string, buckets: readonly number[], ...labels: L) =>
  ({ type: 'histogram', help, labels, buckets }) satisfies Definition<'histogram', L>

/** Opens a family for each definition; `prefix` goes before every name. */
export function openFamilies<T extends Record<string, Definition>>(prefix: string, table: T): Families<T> {
  return Object.fromEntries(
    Object.entries(table).map(([name, definition]) => [name, openFamily(`${prefix}${name}`, definition)])
  ) as unknown as Families<T>
}

interface Series extends Value, Distribution {
  lines(): string
}

/** Label values are looked up at every event, so they are rendered once, when a series is new. */
function openFamily(name: string, { type, help, labels, buckets }: Definition): Family<Series, string[]> {
  const head = `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`
  // By the first label, so that all series of a target go at once.
  const rows = new Map<string, Map<string, Series>>()
  const open = (values: string[]): Series => {
    const pairs = labels.map((label, index) => `${label}="${escaped(values[index] ?? '')}"`).join(',')
    return buckets ? distribution(name, pairs, buckets) : single(name, pairs)
  }
  const add = (values: string[], rest: string): Series => {
    const first = values[0] ?? ''
    const series = open(values)
    const row = rows.get(first)
    if (row) row.set(rest, series)
    else rows.set(first, new Map([[rest, series]]))
    return series
  }
  return {
    labels: [...labels],
    at(...values) {
      const rest = values.length < 2 ? '' : values.length === 2 ? values[1]! : values.slice(1).join('\n')
      return rows.get(values[0] ?? '')?.get(rest) ?? add(values, rest)
    },
    drop(first) {
      if (first === undefined) rows.clear()
      else rows.delete(first)
    },
    text() {
      let text = head
      for (const row of rows.values()) for (const series of row.values()) text += series.lines()
      return text
    }
  }
}

function single(name: string, pairs: string): Series {
  const start = `${name}${pairs === '' ? '' : `{${pairs}}`} `
  const series: Series = { value: 0, observe: () => {}, lines: () => `${start}${series.value}\n` }
  return series
}

function distribution(name: string, pairs: string, buckets: readonly number[]): Series {
  const before = pairs === '' ? '' : `${pairs},`
  const starts = [...buckets, '+Inf'].map(le => `${name}_bucket{${before}le="${le}"} `)
  const end = pairs === '' ? '' : `{${pairs}}`
  const counts = starts.map(() => 0)
  let sum = 0
  return {
    value: 0,
    observe(value) {
      let index = 0
      while (index < buckets.length && value > buckets[index]!) index++
      counts[index]!++
      sum += value
    },
    lines() {
      let count = 0
      let text = ''
      for (let index = 0; index < counts.length; index++) text += `${starts[index]}${(count += counts[index]!)}\n`
      return `${text}${name}_sum${end} ${sum}\n${name}_count${end} ${count}\n`
    }
  }
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
