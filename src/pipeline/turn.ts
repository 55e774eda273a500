/** Work on more alerts than that takes its time. */
const manyAlerts = 100

/** Whether others should get the event loop before so many alerts are worked on. */
export const isMany = (alerts: readonly unknown[]): boolean => alerts.length > manyAlerts

let last: Promise<void> = Promise.resolve()

/** Lets others have the event loop before it goes on. Of several that ask at once, each goes on in a round of its own. */
export function turn(): Promise<void> {
  last = last.then(() => new Promise(resolve => setImmediate(resolve)))
  return last
}
