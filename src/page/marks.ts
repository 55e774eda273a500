import { type Html, html } from './html.js'

/** A shape for each meaning, so that colour never is the only sign. */
const shapes = {
  fine: 'M6.5 12.5l4 4 7.5-9',
  late: 'M12 6.5v6l4 2.5',
  lost: 'M12 6v7.5M12 17.5v.01',
  none: 'M7 12h10'
}

export type Mark = keyof typeof shapes

/** The mark within text; screen readers pass over it, as the words beside it say the same. */
export function markOf(mark: Mark): Html {
  return html`<svg class="mark ${mark}" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="10.5"/><path d="${shapes[mark]}"/></svg>`
}

const colours: Record<Mark, string> = { fine: '#1a7f4e', late: '#a15c00', lost: '#c0271d', none: '#5d6670' }

/** The mark as a picture of its own, for the browser's tab. */
export function iconOf(mark: Mark): Html {
  return html`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><circle cx="12" cy="12" r="12" fill="${colours[mark]}"/><path d="${shapes[mark]}" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" stroke-linejoin="round"/></svg>`
}

export function isMark(name: string): name is Mark {
  return Object.hasOwn(shapes, name)
}
