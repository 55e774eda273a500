// The closing line of a test run, from tap's own totals: `node scripts/count-tests.mjs LOG STATUS`.
import { readFileSync } from 'node:fs'

const [log, status] = process.argv.slice(2)
const totals = [...readFileSync(log, 'utf8').matchAll(/^# \{ total: \d+(.*) \}$/gm)].at(-1)?.[1]
const count = name => Number(new RegExp(`${name}: (\\d+)`).exec(totals ?? '')?.[1] ?? 0)
// A run that failed before or besides its tests has failed once.
const failed = Math.max(count('fail'), Number(status) === 0 ? 0 : 1)
console.log(`${count('pass')} passed, ${failed} failed, ${count('skip') + count('todo')} skipped`)
