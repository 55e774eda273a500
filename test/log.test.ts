import pino from 'pino'
import t from 'tap'
import { deadLetterLog, gatherLines } from '../src/log.js'
import type { DeadLetter } from '../src/pipeline/entry.js'

t.test(
  'of many dead letters the first ten have a line each, the others one together, by target and reason',
  async t => {
    const lines: Record<string, unknown>[] = []
    const letters = deadLetterLog(
      pino({ base: null, timestamp: false }, { write: line => lines.push(JSON.parse(line)) })
    )
    const bury = (id: string, target: string, reason: string): void =>
      letters.buried({ id, target, failure: { reason } } as DeadLetter)
    for (let index = 0; index < 500; index++) bury(`d${index}`, 'pd', 'queue_full')
    bury('d500', 'pd', 'bad_request')
    bury('d501', 'slack', 'queue_full')
    letters.flush()
    bury('d502', 'pd', 'queue_full')
    letters.flush()
    const one = (target: string, id: string, reason = 'queue_full') => ({
      level: 40,
      target,
      delivery_id: id,
      reason,
      msg: 'given up: a dead letter'
    })
    t.strictSame(lines, [
      ...Array.from({ length: 10 }, (_, index) => one('pd', `d${index}`)),
      one('pd', 'd500', 'bad_request'),
      one('slack', 'd501'),
      { level: 40, target: 'pd', reason: 'queue_full', count: 490, msg: 'given up: more dead letters' },
      one('pd', 'd502')
    ])
  }
)

t.test('lines are passed on together, in order, and none is left behind at the end', async t => {
  const written: string[] = []
  let flushed = 0
  const lines = gatherLines({ write: text => written.push(text), flushSync: () => void flushed++ }, 3)
  for (let index = 1; index <= 7; index++) lines.write(`${index}\n`)
  t.strictSame(written, ['1\n2\n3\n', '4\n5\n6\n'])
  lines.flush()
  lines.flush()
  t.strictSame(written.slice(2), ['7\n'])
  lines.write('8\n')
  lines.end()
  t.strictSame(written.slice(3), ['8\n'])
  t.equal(flushed, 1)
})
