const text = Symbol('markup')

/** Markup that is written as it stands; only `html` makes it. */
export interface Html {
  readonly [text]: string
}

export type Value = Html | string | number | false | null | undefined | readonly Value[]

/**
 * Markup out of a template. Whatever is put into it is escaped, for text as well as for quoted attributes, unless it
 * is markup itself; `false`, null and undefined leave nothing.
 */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
  return { [text]: parts.reduce((all, part, index) => all + written(values[index - 1]) + part) }
}

/** The text of a document or a part of one. */
export function markupOf(markup: Html): string {
  return markup[text]
}

function written(value: Value): string {
  if (value === false || value === null || value === undefined) return ''
  if (typeof value === 'string' || typeof value === 'number') return escaped(String(value))
  return text in value ? value[text] : value.map(written).join('')
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function escaped(plain: string): string {
  return plain.replace(/[&<>"']/g, character => entities[character]!)
}
