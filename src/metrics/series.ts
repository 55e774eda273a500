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

/**
 * A series and the next one with the same first label: such rows are short, and a target has a dozen of them. So its
 * labels are no list, which would be larger than all the rest of it.
 */
abstract class Series implements Value, Distribution {
  value = 0
  next: Series | undefined

  constructor(
    readonly first: string,
    readonly second: string | undefined,
    readonly third: string | undefined
  ) {}

  observe(_value: number): void {}
  abstract lines(name: string, pairs: string): string
}

class Single extends Series {
  lines(name: string, pairs: string): string {
    return `${name}${braced(pairs)} ${this.value}\n`
  }
}

class Histogram extends Series {
  readonly #buckets: readonly number[]
  readonly #counts: number[]
  #sum = 0

  constructor(
    buckets: readonly number[],
    ...labels: [first: string, second: string | undefined, third: string | undefined]
  ) {
    super(...labels)
    this.#buckets = buckets
    this.#counts = [...buckets, Number.POSITIVE_INFINITY].map(() => 0)
  }

  override observe(value: number): void {
    let index = 0
    while (index < this.#buckets.length && value > this.#buckets[index]!) index++
    this.#counts[index]!++
    this.#sum += value
  }

  lines(name: string, pairs: string): string {
    const before = pairs === '' ? '' : `${pairs},`
    let count = 0
    let text = ''
    for (let index = 0; index < this.#counts.length; index++)
      text += `${name}_bucket{${before}le="${this.#buckets[index] ?? '+Inf'}"} ${(count += this.#counts[index]!)}\n`
    return `${text}${name}_sum${braced(pairs)} ${this.#sum}\n${name}_count${braced(pairs)} ${count}\n`
  }
}

/** Series are looked up at every event and rendered at a scrape: until then they are numbers and no text. */
function openFamily(name: string, { type, help, labels, buckets }: Definition): Family<Series, string[]> {
  if (labels.length > 3) throw new Error(`${name} has more labels than series are looked up by`)
  const head = `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`
  // By the first label, so that all series of a target go at once.
  const rows = new Map<string, Series>()
  const pairsOf = ({ first, second, third }: Series): string => {
    const values = [first, second, third]
    return labels.map((label, index) => `${label}="${escaped(values[index] ?? '')}"`).join(',')
  }
  return {
    labels: [...labels],
    // No metric has more than three labels, and a list of them for every event would soon be many.
    at(first = '', second?: string, third?: string) {
      let last: Series | undefined
      for (let series = rows.get(first); series; series = series.next) {
        if (series.second === second && series.third === third) return series
        last = series
      }
      const series = buckets ? new Histogram(buckets, first, second, third) : new Single(first, second, third)
      if (last) last.next = series
      else rows.set(first, series)
      return series
    },
    drop(first) {
      if (first === undefined) rows.clear()
      else rows.delete(first)
    },
    text() {
      let text = head
      for (const row of rows.values())
        for (let series: Series | undefined = row; series; series = series.next)
          text += series.lines(name, pairsOf(series))
      return text
    }
  }
}

function braced(pairs: string): string {
  return pairs === '' ? '' : `{${pairs}}`
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
