import closeWithGrace from 'close-with-grace'
import { destination, pino } from 'pino'
import { readConfig } from './config.js'
import { gatherLines } from './log.js'
import { sentenceOf } from './schema.js'
import { startService } from './service.js'

const reading = readConfig(process.env)
if (!reading.ok) {
  for (const problem of reading.problems) process.stderr.write(`${sentenceOf(problem)}\n`)
  process.exit(1)
}
const config = reading.value
const lines = gatherLines(destination({ sync: false }))
setInterval(lines.flush, 200).unref()
process.on('exit', lines.end)
const log = pino({ level: config.LOG_LEVEL }, lines)

try {
  const service = await startService(config, { log, targetsFileNamed: Boolean(process.env.TARGETS_FILE?.trim()) })
  // Its own delay is longer than the drain, and a second signal stops at once.
  closeWithGrace(
    { delay: config.DRAIN_TIMEOUT + 10_000, logger: { error: (message: string) => log.error(message) } as never },
    async ({ err, signal }) => {
      if (err) log.fatal({ error: err.name, at: err.stack?.split('\n')[1]?.trim() }, 'stopping after a fault')
      else log.info({ signal }, 'stopping')
      await service.stop()
    }
  )
} catch (error) {
  log.fatal(error instanceof Error ? error.message : 'the service could not start')
  process.exit(1)
}
