import Type, { type Static } from 'typebox'
import type { Problem } from '../schema.js'
import { SecretText } from '../schema.js'
import { addressOf, fieldOf, urlProblems } from './address.js'
import type { TargetKind } from './contract.js'
import { partPerAlert } from './incident.js'
import { alertsApi } from './rootly-alerts.js'
import { incidentsApi } from './rootly-incidents.js'
import { settingsOf } from './settings.js'

const Ids = (description: string) =>
  Type.Optional(Type.Array(Type.String({ minLength: 1 }), { minItems: 1, description }))

const own = {
  url: SecretText({ default: 'https://api.rootly.com', description: 'the API: https://api.rootly.com' }),
  api: Type.Enum(['incidents', 'alerts'], {
    default: 'incidents',
    description: 'What an alert becomes in Rootly: an incident, or an alert that Rootly routes by itself.'
  }),
  per: Type.Enum(['alert', 'group'], {
    default: 'alert',
    description: 'One for each alert, or one for each Alertmanager group.'
  }),
  severity_ids: Type.Optional(
    Type.Record(Type.String(), Type.String({ minLength: 1 }), {
      description: 'The account’s severity id for each severity: {critical: …, warning: …}. Incidents only.'
    })
  ),
  service_ids: Ids('Services to attach.'),
  environment_ids: Ids('Environments to attach.'),
  group_ids: Ids('Teams to attach.'),
  notification_target_type: Type.Optional(
    Type.Enum(['User', 'Group', 'EscalationPolicy', 'Service', 'Functionality'], {
      description: 'Whom Rootly On-Call pages. Alerts only.'
    })
  ),
  notification_target_id: Type.Optional(
    Type.String({ minLength: 1, description: 'The id of who is paged. Alerts only.' })
  )
}

const auth = { type: 'bearer', token: 'rootly_example_token' }
const schema = settingsOf('rootly', own, [
  { name: 'rootly', type: 'rootly', auth, severity_ids: { critical: 'sev-1-id', warning: 'sev-2-id' } },
  { name: 'rootly-group', type: 'rootly', auth, per: 'group', service_ids: ['service-id'], group_ids: ['team-id'] },
  {
    name: 'rootly-alerts',
    type: 'rootly',
    url: 'https://api.rootly.example.com',
    auth,
    api: 'alerts',
    notification_target_type: 'EscalationPolicy',
    notification_target_id: 'policy-id'
  },
  { name: 'rootly-alerts-group', type: 'rootly', auth, api: 'alerts', per: 'group' }
])
export type RootlySettings = Static<typeof schema>

/** Rootly through its JSON:API (docs.rootly.com/api-reference), as incidents or as alerts. */
export const rootly: TargetKind<RootlySettings> = {
  type: 'rootly',
  title: 'Rootly',
  schema,
  defaults: { rateLimit: { requests: 50, perMs: 60_000, burst: 25 }, maxConcurrent: 10 },
  audience: 'incident',
  reachesPeople: true,
  lane: settings => settings.per,
  check: (settings, root) => [
    ...urlProblems(settings.url, fieldOf(root, 'url')),
    ...authProblems(settings, root),
    ...apiProblems(settings, root),
    ...severityProblems(settings, root)
  ],
  open(settings) {
    // The API's version is ours to add; people copy it into the URL nonetheless.
    const address = addressOf(settings.url.reveal().replace(/\/v1\/?(?=$|\?)/, ''))
    const api = settings.api === 'incidents' ? incidentsApi(settings, address) : alertsApi(settings, address)
    return settings.per === 'alert' ? { ...api, parts: partPerAlert } : api
  }
}

function authProblems({ auth }: RootlySettings, root: string): Problem[] {
  if (auth?.type === 'bearer') return []
  const suggestion = 'add auth: {type: bearer, token: …} with an API key of Rootly'
  return [{ field: fieldOf(root, 'auth'), message: auth ? 'must be of type bearer' : 'is required', suggestion }]
}

function apiProblems(settings: RootlySettings, root: string): Problem[] {
  const foreign =
    settings.api === 'incidents'
      ? (['notification_target_type', 'notification_target_id'] as const)
      : (['severity_ids'] as const)
  const problems = foreign
    .filter(name => settings[name] !== undefined)
    .map(name => ({
      field: fieldOf(root, name),
      message: `is not used with api: ${settings.api}`,
      suggestion: `remove it, or set api: ${settings.api === 'incidents' ? 'alerts' : 'incidents'}`
    }))
  if (settings.api === 'incidents') return problems
  const { notification_target_type: type, notification_target_id: id } = settings
  if ((type === undefined) === (id === undefined)) return problems
  const missing = type === undefined ? 'notification_target_type' : 'notification_target_id'
  const given = type === undefined ? 'notification_target_id' : 'notification_target_type'
  return [
    ...problems,
    { field: fieldOf(root, missing), message: `is required with ${given}`, suggestion: `add ${missing}` }
  ]
}

function severityProblems({ severity_ids = {} }: RootlySettings, root: string): Problem[] {
  const names = Object.keys(severity_ids)
  return names
    .filter((name, index) => names.findIndex(other => other.toLowerCase() === name.toLowerCase()) < index)
    .map(name => ({
      field: fieldOf(root, `severity_ids.${name}`),
      message: 'is there already, in another case',
      suggestion: 'keep one of them: case makes no difference'
    }))
}
