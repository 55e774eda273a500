import type { Discovery, DiscoveryEvents } from './contract.js'
import { fileDiscovery } from './file.js'
import { kubernetesDiscovery } from './kubernetes.js'

interface DiscoveryOptions {
  targetsFile: string
  /** Whether somebody named the file, so that it must exist. */
  targetsFileNamed: boolean
  /** None = the own one, `*` = all. */
  k8sNamespaces: readonly string[]
  k8sLabelSelector: string
  refreshIntervalMs: number
}

/** Every place where targets can be found, by the word of `DISCOVERY`. */
const places = {
  file: (options: DiscoveryOptions, events: DiscoveryEvents) =>
    fileDiscovery({ path: options.targetsFile, named: options.targetsFileNamed }, events),
  kubernetes: (options: DiscoveryOptions, events: DiscoveryEvents) =>
    kubernetesDiscovery(
      {
        namespaces: options.k8sNamespaces,
        labelSelector: options.k8sLabelSelector,
        refreshIntervalMs: options.refreshIntervalMs
      },
      events
    )
}

/** Opens a discovery, which does nothing before its `start`. */
export function openDiscovery(
  kind: keyof typeof places,
  options: DiscoveryOptions,
  events: DiscoveryEvents
): Discovery {
  return places[kind](options, events)
}
