import t from 'tap'
import { createMode } from '../src/mode.js'

const start = Date.parse('2026-11-20T18:00:00Z')

t.test('before any target is known it is metrics-only, and says why', async t => {
  const mode = createMode({ now: () => start })
  t.strictSame(mode.view(), {
    mode: 'metrics-only',
    enabled_targets: 0,
    since: '2026-11-20T18:00:00.000Z',
    duration_seconds: 0,
    transitions: 0,
    reason: 'the targets are not known yet'
  })
})

t.test('the first targets are no transition', async t => {
  let at = start
  const mode = createMode({ now: () => at })
  at += 1_000
  mode.apply(3)
  at += 5_000
  t.strictSame(mode.view(), {
    mode: 'normal',
    enabled_targets: 3,
    since: '2026-11-20T18:00:01.000Z',
    duration_seconds: 5,
    transitions: 0,
    reason: '3 targets are enabled'
  })
})

t.test('the last enabled target going is a transition, and one coming back another', async t => {
  let at = start
  const mode = createMode({ now: () => at })
  mode.apply(1)
  at += 60_000
  mode.apply(0)
  at += 2_000
  t.strictSame(mode.view(), {
    mode: 'metrics-only',
    enabled_targets: 0,
    since: '2026-11-20T18:01:00.000Z',
    duration_seconds: 2,
    transitions: 1,
    reason: 'no target is enabled'
  })
  mode.apply(1)
  t.match(mode.view(), { mode: 'normal', transitions: 2, reason: '1 target is enabled' })
})

t.test('more or fewer targets do not touch the mode', async t => {
  let at = start
  const mode = createMode({ now: () => at })
  mode.apply(2)
  at += 60_000
  mode.apply(5)
  t.match(mode.view(), { since: '2026-11-20T18:00:00.000Z', transitions: 0, enabled_targets: 5 })
})

t.test('no targets at first, then some: that is a transition', async t => {
  const mode = createMode({ now: () => start })
  mode.apply(0)
  mode.apply(1)
  t.match(mode.view(), { mode: 'normal', transitions: 1 })
})
