import Type, { type Static } from 'typebox'
import { type Config, HealthStrategy } from '../config.js'
import { Duration, type Reading, reader } from '../schema.js'

/** What one publish may ask for differently than the configuration does. */
export const PublishOptions = Type.Object(
  {
    timeout: Type.Optional(
      Duration({
        description:
          'Longest that this publish may take, e.g. 10s: more than 0 and at most 1h. Default: PUBLISH_TIMEOUT.'
      })
    ),
    max_concurrent: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 1_000_000,
        description: 'a whole number of deliveries at once; 0 = no limit'
      })
    ),
    check_health: Type.Optional(
      Type.Boolean({ description: 'true or false: whether a publish to named targets looks at health' })
    ),
    health_strategy: Type.Optional(HealthStrategy),
    respect_circuit_breakers: Type.Optional(
      Type.Boolean({ description: 'true or false: whether an open circuit keeps live attempts away' })
    )
  },
  { additionalProperties: false, description: 'Overrides of the configured defaults for this publish.' }
)
export type PublishOptions = Static<typeof PublishOptions>

/** The options of one publish with every default filled in. */
export interface EffectiveOptions {
  readonly timeoutMs: number
  readonly adaptive: boolean
  readonly maxConcurrent: number
  readonly checkHealth: boolean
  readonly healthStrategy: HealthStrategy
  readonly respectCircuitBreakers: boolean
}

/** The configured defaults, as `/status` shows them. */
export function defaultOptions(config: Config): EffectiveOptions {
  return {
    timeoutMs: config.PUBLISH_TIMEOUT,
    adaptive: config.ADAPTIVE_TIMEOUT,
    maxConcurrent: config.MAX_CONCURRENT,
    checkHealth: config.CHECK_HEALTH,
    healthStrategy: config.HEALTH_STRATEGY,
    respectCircuitBreakers: config.RESPECT_CIRCUIT_BREAKERS
  }
}

/** The defaults with what the caller asked for. A timeout that was asked for is never shortened. */
export function effectiveOptions(defaults: EffectiveOptions, asked: PublishOptions): EffectiveOptions {
  return {
    timeoutMs: asked.timeout ?? defaults.timeoutMs,
    adaptive: asked.timeout === undefined && defaults.adaptive,
    maxConcurrent: asked.max_concurrent ?? defaults.maxConcurrent,
    checkHealth: asked.check_health ?? defaults.checkHealth,
    healthStrategy: asked.health_strategy ?? defaults.healthStrategy,
    respectCircuitBreakers: asked.respect_circuit_breakers ?? defaults.respectCircuitBreakers
  }
}

/** Milliseconds that a publish to so many targets may take: adaptive is 5 s + 0.5 s per target where that is less. */
export function publishTimeoutMs(options: EffectiveOptions, targets: number): number {
  return options.adaptive ? Math.min(options.timeoutMs, 5_000 + 500 * targets) : options.timeoutMs
}

const readOptions = reader(PublishOptions)
const optionNames = Object.keys(PublishOptions.properties)

/** Options as they stand in a body. */
export function optionsFromBody(raw: unknown): Reading<PublishOptions> {
  return raw === undefined || raw === null
    ? { ok: true, value: {} }
    : checked(readOptions(raw, 'options'), 'options.timeout')
}

/** Options as they stand in a query string, where everything is text. Other parameters are left alone. */
export function optionsFromQuery(query: Readonly<Record<string, unknown>>): Reading<PublishOptions> {
  const asked: Record<string, unknown> = {}
  for (const name of optionNames) {
    const text = query[name]
    if (text !== undefined)
      asked[name] = text === 'true' ? true : text === 'false' ? false : /^\d+$/.test(String(text)) ? Number(text) : text
  }
  return Object.keys(asked).length === 0 ? { ok: true, value: {} } : checked(readOptions(asked), 'timeout')
}

const oneHourMs = 3_600_000

function checked(reading: Reading<PublishOptions>, field: string): Reading<PublishOptions> {
  const timeout = reading.ok ? reading.value.timeout : undefined
  if (timeout === undefined || (timeout > 0 && timeout <= oneHourMs)) return reading
  const problem = { field, message: 'must be more than 0 and at most 1h', suggestion: 'write it as 500ms or 10s' }
  return { ok: false, problems: [problem] }
}
