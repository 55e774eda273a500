/** The first `max` code points of a text; if any had to go, the last of them is `…` and `onCut` is told. */
export function cut(text: string, max: number, onCut?: () => void): string {
  if (text.length <= max) return text
  let units = 0
  let keep = 0
  for (let points = 0; units < text.length; points++) {
    if (points === max - 1) keep = units
    if (points === max) {
      onCut?.()
      return `${text.slice(0, keep)}…`
    }
    units += text.codePointAt(units)! > 0xffff ? 2 : 1
  }
  return text
}
