// Loaded into a measured process: tells what it has used, when it is asked. It costs nothing while nobody asks.
import v8 from 'node:v8'
import vm from 'node:vm'

process.on('message', ({ id, ask }) => {
  if (ask !== 'usage' && ask !== 'memory') return
  if (ask === 'memory') collectGarbage()
  const { user, system } = process.cpuUsage()
  const { heapUsed, rss } = process.memoryUsage()
  process.send({ id, reply: { cpuUs: user + system, heapBytes: heapUsed, rssBytes: rss } })
})

// Without this line, the channel would keep a process alive that wants to end.
process.channel?.unref()

function collectGarbage() {
  v8.setFlagsFromString('--expose-gc')
  const gc = vm.runInNewContext('gc')
  gc()
  gc()
}
