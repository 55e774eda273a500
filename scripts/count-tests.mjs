// The end of a test run, from tap's own output: what failed once more, and the totals: `node scripts/count-tests.mjs LOG STATUS`.
import { readFileSync } from 'node:fs'

const [file, status] = process.argv.slice(2)
const log = readFileSync(file, 'utf8')

// A failure may stand thousands of lines above the end, where a log that is cut off no longer shows it.
const failures = [...log.matchAll(/^( *)not ok .*(?:\n\1 {2}---\n(?:\1.*\n)*?\1 {2}\.\.\.$)?/gm)].map(([text]) => text)
if (failures.length > 0) console.log(['', 'What failed:', ...failures, ''].join('\n'))

const totals = [...log.matchAll(/^# \{ total: \d+(.*) \}$/gm)].at(-1)?.[1]
const count = name => Number(new RegExp(`${name}: (\\d+)`).exec(totals ?? '')?.[1] ?? 0)
// A run that failed before or besides its tests has failed once.
const failed = Math.max(count('fail'), Number(status) === 0 ? 0 : 1)
console.log(`${count('pass')} passed, ${failed} failed, ${count('skip') + count('todo')} skipped`)
