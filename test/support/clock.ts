import type { Test } from 'tap'

/**
 * Lets this process's clock be put forward, in milliseconds; timers run on as ever. To be called before the service is
 * started, which takes its clock then.
 */
export function movableClock(t: Test): { forward(ms: number): void } {
  const real = Date.now
  let aheadMs = 0
  Date.now = () => real() + aheadMs
  t.teardown(() => {
    Date.now = real
  })
  return {
    forward(ms) {
      aheadMs += ms
    }
  }
}
