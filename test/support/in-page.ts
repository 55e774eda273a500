// What runs in the browser, as text: the DOM's types would let the service's own code use them too.

/** Ids, or the text where there is none, of what has the focus. */
export const focusedId = 'document.activeElement.id'
export const focusedText = 'document.activeElement.textContent'

/** Which link or button has the focus, by its place among all of them (-1: none), and whether that is plain to see. */
export const focusedAction = `(() => {
  const element = document.activeElement
  const { outlineStyle, outlineWidth } = getComputedStyle(element)
  const index = [...document.querySelectorAll('a, button')].indexOf(element)
  return { key: index + ' ' + element.innerText, index, marked: outlineStyle === 'solid' && outlineWidth === '3px' }
})()`
export interface FocusedAction {
  readonly key: string
  readonly index: number
  readonly marked: boolean
}
/** Every link and button, by the same keys. */
export const allActions = `[...document.querySelectorAll('a, button')].map((element, index) => index + ' ' + element.innerText)`

/** What reaches beyond the right edge. */
export const tooWide = `[...document.querySelectorAll('main *:not(.unseen, .unseen *, thead *)')]
  .filter(element => element.getBoundingClientRect().right > innerWidth)
  .map(element => element.outerHTML.slice(0, 80))`

/** Notes every change of an element's text in \`window.changes\`. */
export const noteChanges = (selector: string): string => `(() => {
  window.changes = []
  const element = document.querySelector('${selector}')
  new MutationObserver(() => changes.push(element.textContent)).observe(element, {
    childList: true, characterData: true, subtree: true
  })
})()`

/** Makes the page believe that it is hidden, or seen again. */
export const hide = (hidden: boolean): string => `(() => {
  Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true })
  document.dispatchEvent(new Event('visibilitychange'))
})()`

/** The contrast ratio of each text with what it stands on, as WCAG 2 computes it. */
export const contrasts = `(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1)
    canvas.fillStyle = colour
    canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data]
  }
  const luminance = colour => {
    const [r, g, b] = colour.map(value => {
      const share = value / 255
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const groundOf = element => {
    if (!element) return [255, 255, 255, 255]
    const ground = rgba(getComputedStyle(element).backgroundColor)
    return ground[3] > 0 ? ground : groundOf(element.parentElement)
  }
  return [...document.querySelectorAll('body *:not(noscript, .unseen)')].flatMap(element => {
    const text = [...element.childNodes].find(node => node.nodeType === Node.TEXT_NODE && node.nodeValue.trim())
    if (!text) return []
    const [a, b] = [rgba(getComputedStyle(element).color), groundOf(element)].map(luminance)
    return [{ text: text.nodeValue.trim(), ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) }]
  })
})()`
export interface Contrast {
  readonly text: string
  readonly ratio: number
}
