import { alertmanager } from './alertmanager.js'
import type { TargetKind } from './contract.js'
import { pagerduty } from './pagerduty.js'
import { rootly } from './rootly.js'
import { slack } from './slack.js'
import { webhook } from './webhook.js'

/** Every kind of target, by the word that its settings use. A new kind is one file and one line here. */
export const kinds: Readonly<Record<string, TargetKind>> = { alertmanager, pagerduty, rootly, slack, webhook }
