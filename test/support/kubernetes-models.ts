import { readFileSync } from 'node:fs'
import * as client from '@kubernetes/client-node'

interface Field {
  name: string
  baseName: string
  type: string
}

interface Model {
  getAttributeTypeMap(): Field[]
}

const models = client as unknown as Record<string, Model | undefined>
const files = new URL('./gen/models/', import.meta.resolve('@kubernetes/client-node'))

/** What Kubernetes' API would refuse in an object: unknown and missing fields and wrong types, as the models of its client know them. */
export function problemsOf(object: Record<string, unknown>): string[] {
  const version = String(object.apiVersion).split('/').at(-1)!
  const model = `${version.charAt(0).toUpperCase()}${version.slice(1)}${object.kind}`
  return models[model] ? check(object, model, String(object.kind)) : [`${object.apiVersion} ${object.kind} is unknown`]
}

function check(value: unknown, type: string, path: string): string[] {
  const list = /^Array<(.+)>$/.exec(type)?.[1]
  if (list) {
    return Array.isArray(value)
      ? value.flatMap((item, i) => check(item, list, `${path}[${i}]`))
      : [`${path} is no list`]
  }
  const map = /^\{ \[key: string\]: (.+); \}$/.exec(type)?.[1]
  if (map)
    return isObject(value)
      ? Object.entries(value).flatMap(([key, item]) => check(item, map, `${path}.${key}`))
      : [`${path} is no map`]
  if (type === 'IntOrString')
    return ['number', 'string'].includes(typeof value) ? [] : [`${path} is neither number nor string`]
  if (type === 'any' || type === 'object' || type === 'Date') return []
  const model = models[type]
  if (!model) return typeof value === type ? [] : [`${path} is not a ${type}`]
  if (!isObject(value)) return [`${path} is no object`]
  const fields = new Map(model.getAttributeTypeMap().map(field => [field.baseName, field.type]))
  const missing = requiredOf(type).filter(name => value[name] === undefined)
  return [
    ...missing.map(name => `${path}.${name} is missing`),
    ...Object.entries(value).flatMap(([name, item]) => {
      const field = fields.get(name)
      return field ? check(item, field, `${path}.${name}`) : [`${path}.${name} is unknown`]
    })
  ]
}

/** The models say at run time what a field may be, but only their declarations say whether it must be. */
function requiredOf(type: string): string[] {
  const declaration = readFileSync(new URL(`${type}.d.ts`, files), 'utf8')
  return [...declaration.matchAll(/^ {4}'(\w+)': /gm)].map(match => match[1]!)
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value)
