// The server writes the page, words and escaping included. This script asks for it again every few seconds, takes over
// what changed without disturbing the reader, and sends what the buttons ask for. It never makes markup from text.

const everyMs = 3_000
const patienceMs = 15_000
/** A test alert is sent, answered and resolved before its answer comes. */
const actionPatienceMs = 90_000
const tokenKey = 'alert-fanout-token'

const byId = id => document.getElementById(id)
let token = sessionStorage.getItem(tokenKey) ?? ''
let timer
let turn = 0
let acting = false
let seenAt = new Date()

document.documentElement.classList.add('live')
document.addEventListener('submit', signIn)
document.addEventListener('click', click)
document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : refresh()))
if (byId('sign-in') && token) refresh()
else plan()

function ask(path, options = {}, ms = patienceMs) {
  const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) }
  return fetch(path, { ...options, headers, cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(ms) })
}

function plan() {
  clearTimeout(timer)
  if (!document.hidden && !byId('sign-in')) timer = setTimeout(refresh, everyMs)
}

/** Asks for the page and takes it over, unless something newer happened meanwhile. */
async function refresh() {
  clearTimeout(timer)
  const mine = ++turn
  try {
    const answer = await ask('/')
    const text = await answer.text()
    if (mine !== turn || acting) return
    if (answer.status === 401 || answer.status === 403) return await signOut(JSON.parse(text).message)
    if (!answer.ok) throw new Error(`it answered ${answer.status}`)
    takeOver(new DOMParser().parseFromString(text, 'text/html'))
    seenAt = new Date()
    byId('stale').hidden = true
  } catch {
    if (mine === turn) {
      byId('stale').textContent =
        `alert-fanout has not answered since ${seenAt.toLocaleTimeString()}: what you see is from then.`
      byId('stale').hidden = false
    }
  }
  if (mine === turn) plan()
}

function takeOver(next) {
  const focused = document.activeElement
  const section = focused?.closest('section')?.id
  document.title = next.title
  byId('icon').setAttribute('href', next.getElementById('icon').getAttribute('href'))
  merge(document.body, next.body)
  if (focused && focused !== document.body && document.activeElement !== focused) {
    // What had the focus may be gone: its surroundings are the next best place.
    const heading = section && byId(section)?.querySelector('[tabindex="-1"]')
    ;(focused.isConnected ? focused : (heading ?? byId('headline')))?.focus({ preventScroll: true })
  }
}

/** Makes `here` like `there`, keeping every element that stays, with its focus and place. */
function merge(here, there) {
  if (here.nodeType !== Node.ELEMENT_NODE) {
    if (here.nodeValue !== there.nodeValue) here.nodeValue = there.nodeValue
    return
  }
  if (here.hasAttribute('data-own') || here.isEqualNode(there)) return
  for (const { name } of [...here.attributes]) if (!there.hasAttribute(name)) here.removeAttribute(name)
  for (const { name, value } of there.attributes) if (here.getAttribute(name) !== value) here.setAttribute(name, value)
  const wanted = new Set([...there.children].map(child => child.id).filter(Boolean))
  const kept = new Map()
  for (const child of [...here.children]) {
    if (child.id && !wanted.has(child.id)) child.remove()
    else if (child.id) kept.set(child.id, child)
  }
  let at = here.firstChild
  for (const child of there.childNodes) {
    const known = child.id ? kept.get(child.id) : at && !at.id && at.nodeName === child.nodeName ? at : undefined
    if (!known) {
      here.insertBefore(document.importNode(child, true), at)
      continue
    }
    if (known === at) at = at.nextSibling
    else here.insertBefore(known, at)
    merge(known, child)
  }
  while (at) {
    const rest = at.nextSibling
    at.remove()
    at = rest
  }
}

async function signIn(event) {
  event.preventDefault()
  const typed = byId('token').value.trim()
  // A browser refuses to send a header with any other character, as if nobody had answered.
  if (!/^[\x21-\x7e]+$/.test(typed)) {
    byId('refused').textContent = 'A token has no blanks and no characters beyond ASCII: copy it anew.'
    return
  }
  token = typed
  byId('refused').textContent = ''
  await refresh()
  if (byId('sign-in')) return
  sessionStorage.setItem(tokenKey, token)
  byId('headline').focus()
}

/** Forgets the token, and with it everything that was shown. */
async function signOut(why = '') {
  token = ''
  sessionStorage.removeItem(tokenKey)
  if (!byId('sign-in')) {
    byId('main').replaceChildren()
    say('')
    await refresh()
  }
  if (byId('refused')) byId('refused').textContent = why
  byId('token')?.focus()
}

function click(event) {
  const button = event.target.closest('button')
  if (button?.id === 'sign-out') signOut()
  else if (button?.id === 'said-close') say('')
  else if (button?.dataset.does && !acting) act(button)
}

async function act(button) {
  const { does, path, body } = button.dataset
  if (button.dataset.confirm && !confirm(button.dataset.confirm)) return
  acting = true
  button.setAttribute('aria-disabled', 'true')
  say('Under way …')
  let outcome
  try {
    const answer = await ask(
      path,
      {
        method: does === 'discard' ? 'DELETE' : 'POST',
        ...(body && { body, headers: { 'content-type': 'application/json' } })
      },
      actionPatienceMs
    )
    const result = await answer.json()
    outcome = answer.ok ? outcomes[does](result) : `Not done: ${result.message}.`
  } catch {
    outcome = 'Not known whether it was done: no answer came.'
  }
  acting = false
  button.removeAttribute('aria-disabled')
  say(outcome)
  await refresh()
}

const skipReasons = {
  circuit_open: 'its circuit is open',
  disabled: 'it is disabled'
}

/** What an answer means, in words, by what was asked for. */
const outcomes = {
  test({ target_name, success, queued, skip_reason, status_code, error, duration_ms }) {
    if (success) return `${target_name} took the test alert (HTTP ${status_code}, ${Math.round(duration_ms)} ms).`
    const why = error ?? skipReasons[skip_reason] ?? 'there was nothing to send'
    return `${target_name} does not have the test alert: ${why}.${queued ? ' It is kept and tried again.' : ''}`
  },
  check({ target_name, status, latency_ms, error_reason }) {
    const more = error_reason
      ? ` (${error_reason.replaceAll('_', ' ')})`
      : latency_ms === null
        ? ''
        : ` (${Math.round(latency_ms)} ms)`
    return `${target_name} is ${status}${more}.`
  },
  reset: ({ name }) => `The circuit of ${name} is closed: what it is owed is tried now.`,
  replay({ replayed, skipped_resolved }) {
    const left = skipped_resolved > 0 ? ` ${skipped_resolved} stayed, as their alerts have resolved since.` : ''
    return `${replayed} put back into the queue.${left}`
  },
  discard: ({ purged }) => `${purged} discarded.`
}

function say(text) {
  const said = byId('said')
  said.replaceChildren()
  if (!text) return
  const words = document.createElement('p')
  words.textContent = text
  const close = document.createElement('button')
  close.type = 'button'
  close.id = 'said-close'
  close.textContent = 'Close'
  said.append(words, close)
}
