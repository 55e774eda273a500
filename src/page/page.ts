import { type Finding, type Headline, headlineOf, recentlyOf } from './headline.js'
import { type Html, html } from './html.js'
import { givenUpSection, owedSection, publishesSection } from './lists.js'
import { type Mark, markOf } from './marks.js'
import type { PageState } from './state.js'
import { targetsSection } from './targets.js'
import { ago, span } from './words.js'

export interface PageOptions {
  /** Changes whenever the script or the style does. */
  readonly assets: string
  /** Whether tokens are set at all. */
  readonly guarded: boolean
  /** Whether the reader may use the buttons. */
  readonly mayAct: boolean
}

/** The whole page, with all that is known at this moment. */
export function statusPage(state: PageState, options: PageOptions): Html {
  const headline = headlineOf(state)
  const { now, version, startedAt, discovery, store } = state
  return document(
    { assets: options.assets, title: headline.first.what, mark: headline.tone },
    html`<header class="top"><p class="brand">alert-fanout</p><p class="soft" id="seen">as of ${new Date(now).toISOString().slice(11, 19)} UTC</p>
${options.guarded && html`<button type="button" id="sign-out">Sign out</button>`}</header>
<main id="main">
${headlinePart(headline, state)}
${owedSection(state)}
${givenUpSection(state, options.mayAct)}
${targetsSection(state, options.mayAct)}
${publishesSection(state)}
</main>
<footer class="soft">
<p>alert-fanout ${version}, started ${ago(startedAt, now)}. ${store.durable ? `Queue: ${store.backend}.` : 'Queue: off, so nothing is kept here.'} Targets: ${discovery.source}${discovery.lastSuccess !== undefined && `, last read ${ago(discovery.lastSuccess, now)}`}.</p>
<p>${options.guarded && !options.mayAct && 'This token may look, but not act: that needs an admin token. '}Recent notifications and figures are those of this process in the last ${span(now - startedAt)}.</p>
<p><a href="/docs">API</a> ${!options.guarded && html`<a href="/status">Status as JSON</a>`} <a href="/metrics">Metrics</a></p>
<noscript><p>Without JavaScript this page shows the state, anew every 15 s, but has no buttons: the API does the same.</p></noscript>
</footer>`
  )
}

/** What is shown instead where tokens are set and the reader has none: nothing but the way in. */
export function signInPage(options: Pick<PageOptions, 'assets'>): Html {
  return document(
    { assets: options.assets, title: 'Sign in', mark: 'none' },
    html`<header class="top"><p class="brand">alert-fanout</p></header>
<main id="main">
<form id="sign-in" class="sign-in">
<h1>Sign in</h1>
<label for="token">API token</label>
<input id="token" type="password" autocomplete="current-password" spellcheck="false" required aria-describedby="token-help">
<p id="token-help" class="soft">A token that may read shows the state; an admin token can also replay and test. It is forgotten when this tab closes.</p>
<p id="refused" role="alert" class="refused"></p>
<button type="submit">Sign in</button>
<noscript><p>Signing in needs JavaScript. Without it: <code>curl -H "Authorization: Bearer …" …/status</code></p></noscript>
</form>
</main>`
  )
}

function document({ assets, title, mark }: { assets: string; title: string; mark: Mark }, body: Html): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · alert-fanout</title>
<link rel="icon" id="icon" type="image/svg+xml" href="/page/${mark}.svg">
<link rel="stylesheet" href="/page.css?v=${assets}">
<script type="module" src="/page.js?v=${assets}"></script>
<noscript><meta http-equiv="refresh" content="15"></noscript>
</head>
<body>
<a class="skip" href="#main">Skip to the state</a>
${body}
<p id="stale" role="alert" class="stale" data-own hidden></p>
<div id="said" class="said" role="status" data-own></div>
</body>
</html>
`
}

function headlinePart({ tone, first, others }: Headline, state: PageState): Html {
  return html`<section class="headline ${tone}" aria-labelledby="headline">
${markOf(tone)}
<div>
<h1 id="headline" tabindex="-1"><bdi>${first.what}</bdi>${first.when ? html`<span class="when">, ${first.when}.</span>` : '.'}</h1>
${first.advice && html`<p class="advice">${first.advice}${more(first)}</p>`}
<p class="soft">${recentlyOf(state)}</p>
</div>
<p class="unseen" role="status" id="announced">${first.what}. ${others.length > 0 && `${others.length} more to look at.`}</p>
</section>
${
  others.length > 0 &&
  html`<section class="findings" aria-labelledby="findings-title"><h2 id="findings-title">${tone === 'fine' ? 'Worth a look' : 'Also'}</h2>
<ul>${others.map(finding)}</ul></section>`
}`
}

function finding({ weight, what, when, advice, at }: Finding): Html {
  return html`<li>${markOf(weight === 'note' ? 'none' : weight)}<div><p><bdi>${what}</bdi>${when && `, ${when}`}.</p>${
    advice && html`<p class="soft">${advice}${more({ at })}</p>`
  }</div></li>`
}

const more = ({ at }: Pick<Finding, 'at'>): Html | undefined =>
  at && html` <a href="#${at}">${{ owed: 'What is owed', 'given-up': 'What was given up', targets: 'Targets' }[at]}</a>`
