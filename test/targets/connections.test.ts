import t, { type Test } from 'tap'
import { buildConnector, type Dispatcher } from 'undici'
import { Connections } from '../../src/targets/connections.js'
import { receive, unusedPort } from '../support/receiver.js'

const request = (more: Partial<Dispatcher.DispatchOptions> = {}): Dispatcher.DispatchOptions => ({
  method: 'POST',
  path: '/',
  body: '{}',
  ...more
})

function open(t: Test, origin: string, limit: number, connect: buildConnector.connector = buildConnector({})) {
  const connections = new Connections(origin, limit, { pipelining: 1, connect })
  t.teardown(() => connections.destroy())
  return connections
}

/** Dispatches one request: its status, or the code of what went wrong. */
function statusOf(connections: Connections, options = request()): Promise<number | string> {
  return new Promise(resolve => {
    let status = 0
    connections.dispatch(options, {
      onConnect: () => {},
      onHeaders: statusCode => Boolean((status = statusCode)),
      onData: () => true,
      onComplete: () => resolve(status),
      onError: error => resolve((error as NodeJS.ErrnoException).code ?? error.message)
    })
  })
}

t.test('one after the other, requests share one connection', async t => {
  const receiver = await receive(t)
  const connections = open(t, receiver.origin, 5)
  for (let round = 0; round < 3; round++) {
    t.equal(await statusOf(connections), 200)
    await new Promise(resolve => setImmediate(resolve))
  }
  t.equal(receiver.connections(), 1)
})

t.test('who waits is sent once there is room, in order, over no more connections than allowed', async t => {
  const receiver = await receive(t, response => setImmediate(() => response.end()))
  const connections = open(t, receiver.origin, 2)
  const paths = Array.from({ length: 10 }, (_, index) => `/${index}`)
  const statuses = await Promise.all(paths.map(path => statusOf(connections, request({ path }))))
  t.ok(statuses.every(status => status === 200))
  t.equal(receiver.connections(), 2)
  t.strictSame(receiver.received.map(({ url }) => url).sort(), paths)
})

t.test('where nobody listens, everybody who waits is told', async t => {
  const connections = open(t, `http://127.0.0.1:${await unusedPort()}`, 1)
  const told = await Promise.all([statusOf(connections), statusOf(connections), statusOf(connections)])
  t.strictSame(told, ['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED'])
})

t.test('a connection refused at once takes nobody’s place', async t => {
  const receiver = await receive(t)
  const connect = buildConnector({})
  let refused = 2
  const connections = open(t, receiver.origin, 1, (options, callback) => {
    if (refused-- > 0) callback(Object.assign(new Error('no'), { code: 'REFUSED' }), null)
    else connect(options, callback)
  })
  t.strictSame(await Promise.all([statusOf(connections), statusOf(connections), statusOf(connections)]), [
    'REFUSED',
    'REFUSED',
    200
  ])
})

t.test('a request that cannot be written takes nobody’s place', async t => {
  const receiver = await receive(t)
  const connections = open(t, receiver.origin, 1)
  for (let round = 0; round < 2; round++)
    t.equal(await statusOf(connections, request({ headers: ['bad name', 'x'] })), 'UND_ERR_INVALID_ARG')
  t.equal(await statusOf(connections), 200)
})

t.test('closing lets what runs and what waits end', async t => {
  const receiver = await receive(t, response => setImmediate(() => response.end()))
  const connections = open(t, receiver.origin, 1)
  const results = Promise.all([statusOf(connections), statusOf(connections), statusOf(connections)])
  await connections.close()
  t.strictSame(await results, [200, 200, 200])
})

t.test('destroying breaks off what runs and what waits', async t => {
  const receiver = await receive(t, () => {})
  const connections = open(t, receiver.origin, 1)
  const results = Promise.all([statusOf(connections), statusOf(connections), statusOf(connections)])
  await connections.destroy()
  t.strictSame(new Set(await results), new Set(['UND_ERR_DESTROYED']))
})
