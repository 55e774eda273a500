// Writes openapi.yaml from the routes' schemas; with --check it only says whether the file is in step.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import { openApiText } from '../src/app.js'
import { readConfig } from '../src/config.js'
import { startService } from '../src/service.js'

const file = new URL('../openapi.yaml', import.meta.url)
const work = mkdtempSync(path.join(tmpdir(), 'alert-fanout-openapi-'))
writeFileSync(path.join(work, 'targets.yaml'), 'targets: []\n')
const reading = readConfig({
  HOST: '127.0.0.1',
  PORT: '0',
  DISCOVERY: 'file',
  TARGETS_FILE: path.join(work, 'targets.yaml'),
  QUEUE: 'off'
})
if (!reading.ok) throw new Error('the defaults are not valid')
const service = await startService(reading.value, { log: pino({ level: 'silent' }), targetsFileNamed: true })
const text = openApiText(service.app)
await service.stop()
rmSync(work, { recursive: true, force: true })

if (!process.argv.includes('--check')) writeFileSync(file, text)
else if (readFileSync(file, 'utf8') !== text) {
  process.stderr.write('openapi.yaml is not in step with the code: run npm run openapi\n')
  process.exit(1)
}
