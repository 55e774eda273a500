import { execFileSync } from 'node:child_process'
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { fileDiscovery } from '../../src/discovery/file.js'
import { until, watchLooks } from '../support/looks.js'

const hook = (name: string, url = 'http://127.0.0.1:1/') => ({ name, type: 'webhook', url })
const listOf = (...targets: unknown[]) => JSON.stringify({ targets })

async function open(t: Test, path: string, named = true) {
  const looks = watchLooks()
  const discovery = fileDiscovery({ path, named }, looks.events)
  t.teardown(() => discovery.stop())
  await discovery.start(looks.found)
  return { ...looks, discovery }
}

t.test('a YAML file gives its targets', async t => {
  const path = join(
    t.testdir({ 'targets.yaml': 'targets:\n- name: a\n  type: webhook\n  url: http://127.0.0.1:1/\n' }),
    'targets.yaml'
  )
  const { latest, names, reports } = await open(t, path)
  t.strictSame(names(), ['a'])
  t.strictSame(latest().invalid, [])
  t.strictSame(reports, [{ operation: 'reload', error: undefined, message: undefined }])
})

t.test('a JSON file indented by tabs gives its targets', async t => {
  const text = JSON.stringify({ targets: [hook('a'), hook('b')] }, undefined, '\t')
  const { names } = await open(t, join(t.testdir({ 'targets.json': text }), 'targets.json'))
  t.strictSame(names(), ['a', 'b'])
})

t.test('an entry that is wrong is told apart and hides none of the others', async t => {
  const text = listOf(
    hook('a'),
    { name: 'b', type: 'pigeon', url: 'http://x' },
    'text',
    hook('c', ''),
    hook('d'),
    hook('a')
  )
  const { latest, names } = await open(t, join(t.testdir({ 'targets.yaml': text }), 'targets.yaml'))
  t.strictSame(names(), ['a', 'd'])
  t.strictSame(
    latest().invalid.map(({ source, name, stale, problems }) => [source, name, stale, problems[0]?.field]),
    [
      ['targets.yaml targets[1]', 'b', false, 'targets[1].type'],
      ['targets.yaml targets[2]', undefined, false, 'targets[2]'],
      ['targets.yaml targets[3]', 'c', false, 'targets[3].url'],
      ['targets.yaml targets[5]', 'a', false, 'name']
    ]
  )
})

t.test('a pipe or a device in a directory is told, and not read', async t => {
  const dir = t.testdir({ 'a.yaml': JSON.stringify(hook('a')), 'z.json': t.fixture('symlink', '/dev/zero') })
  execFileSync('mkfifo', [join(dir, 'f.yaml')])
  const { latest, names } = await open(t, dir)
  t.strictSame(names(), ['a'])
  t.match(latest().invalid, [
    { source: 'f.yaml', problems: [{ message: 'is no file' }] },
    { source: 'z.json', problems: [{ message: 'is no file' }] }
  ])
})

t.test('a change is found, and what did not change stays the same object', async t => {
  const dir = t.testdir({ 'targets.yaml': listOf(hook('a'), hook('b')) })
  const { latest, names } = await open(t, join(dir, 'targets.yaml'))
  const [a, b] = latest().targets
  writeFileSync(join(dir, 'targets.yaml'), listOf(hook('c'), hook('b', 'http://127.0.0.1:2/'), hook('a')))
  await until('c is there', () => names().join() === 'c,b,a')
  t.equal(latest().targets[2], a)
  t.not(latest().targets[1], b)
})

t.test('a file that is replaced by renaming is found', async t => {
  const dir = t.testdir({ 'targets.yaml': listOf(hook('a')) })
  const { names } = await open(t, join(dir, 'targets.yaml'))
  for (const name of ['b', 'c']) {
    writeFileSync(join(dir, 'targets.yaml.swp'), listOf(hook(name)))
    renameSync(join(dir, 'targets.yaml.swp'), join(dir, 'targets.yaml'))
    await until(`${name} is there`, () => names().join() === name)
  }
})

t.test('a file that is removed and written anew keeps its targets meanwhile', async t => {
  const dir = t.testdir({ 'targets.yaml': listOf(hook('a')) })
  const { names, reports } = await open(t, join(dir, 'targets.yaml'))
  rmSync(join(dir, 'targets.yaml'))
  await until('it is told', () => reports.length === 2)
  t.strictSame(reports[1], {
    operation: 'reload',
    error: 'invalid',
    message: `${join(dir, 'targets.yaml')} does not exist`
  })
  t.strictSame(names(), ['a'])
  writeFileSync(join(dir, 'targets.yaml'), listOf(hook('b')))
  await until('b is there', () => names().join() === 'b')
})

t.test('a directory that a kubelet swaps by its ..data link is found', async t => {
  const dir = t.testdir({
    '..one': { 'a.yaml': 'type: webhook\nurl: http://127.0.0.1:1/' },
    '..two': {
      'a.yaml': 'type: webhook\nurl: http://127.0.0.1:2/',
      'b.json': '{"type":"webhook","url":"http://127.0.0.1:1/"}'
    },
    '..data': t.fixture('symlink', '..one'),
    'a.yaml': t.fixture('symlink', '..data/a.yaml')
  })
  const { latest, names } = await open(t, dir)
  t.strictSame(names(), ['a'])
  const before = latest().targets[0]
  symlinkSync('..data/b.json', join(dir, 'b.json'))
  symlinkSync('..two', join(dir, '..data_tmp'))
  renameSync(join(dir, '..data_tmp'), join(dir, '..data'))
  await until('both are there', () => names().join() === 'a,b')
  t.not(latest().targets[0], before)
})

t.test('a file behind a link in a mounted directory is found when the mount is swapped', async t => {
  const dir = t.testdir({
    '..one': { 'targets.yaml': listOf(hook('a')) },
    '..two': { 'targets.yaml': listOf(hook('b')) },
    '..data': t.fixture('symlink', '..one'),
    'targets.yaml': t.fixture('symlink', '..data/targets.yaml')
  })
  const { names } = await open(t, join(dir, 'targets.yaml'))
  symlinkSync('..two', join(dir, '..data_tmp'))
  renameSync(join(dir, '..data_tmp'), join(dir, '..data'))
  await until('b is there', () => names().join() === 'b')
})

t.test('a directory that is replaced as a whole is found', async t => {
  const dir = t.testdir({ now: { 'a.json': JSON.stringify(hook('a')) }, next: { 'b.json': JSON.stringify(hook('b')) } })
  const { names } = await open(t, join(dir, 'now'))
  renameSync(join(dir, 'now'), join(dir, 'old'))
  renameSync(join(dir, 'next'), join(dir, 'now'))
  await until('b is there', () => names().join() === 'b')
})

t.test(
  'a directory gives one target per file, named after the file; other files and hidden ones are left out',
  async t => {
    const dir = t.testdir({
      'ops.yaml': 'type: webhook\nurl: http://127.0.0.1:1/',
      'other.yml': 'name: own-name\ntype: webhook\nurl: http://127.0.0.1:1/',
      'broken.json': '{"type": ',
      '.hidden.yaml': 'type: webhook',
      'ops.yaml~': 'type: webhook',
      'README.md': '# hello',
      more: { 'deep.yaml': 'type: webhook' }
    })
    mkdirSync(join(dir, 'folder.yaml'))
    const { latest, names } = await open(t, dir)
    t.strictSame(names(), ['ops', 'own-name'])
    t.strictSame(
      latest().invalid.map(({ source, name, problems }) => [source, name, problems[0]?.field, problems[0]?.message]),
      [
        ['broken.json', 'broken', 'broken.json', 'is not valid YAML or JSON (line 1, column 10): missing char'],
        ['folder.yaml', undefined, 'folder.yaml', 'is no file']
      ]
    )
  }
)

t.test('an entry that becomes wrong keeps its last valid version, until it is right again or gone', async t => {
  const dir = t.testdir({ 'targets.yaml': listOf(hook('a'), hook('b')) })
  const { latest, names, discovery } = await open(t, join(dir, 'targets.yaml'))
  const b = latest().targets[1]
  const edit = async (...targets: unknown[]) => {
    writeFileSync(join(dir, 'targets.yaml'), listOf(...targets))
    await discovery.refresh()
    return latest().invalid.map(({ source, name, stale }) => [source, name, stale])
  }
  const wrong = { ...hook('b'), timeout: 'soon' }
  t.strictSame(await edit(wrong, hook('a')), [['targets.yaml targets[0]', 'b', true]])
  t.strictSame(names(), ['b', 'a'])
  t.equal(latest().targets[0], b)
  t.strictSame(await edit(wrong), [['targets.yaml targets[0]', 'b', true]], 'however often')
  t.equal(latest().targets[0], b)
  t.strictSame(await edit(hook('b')), [])
  t.equal(latest().targets[0], b, 'the edit is undone')
  t.strictSame(await edit(hook('c')), [])
  t.strictSame(
    await edit(wrong),
    [['targets.yaml targets[0]', 'b', false]],
    'nothing valid is remembered of what was gone'
  )
  t.strictSame(names(), [])
})

t.test('an entry that lost its name keeps the target that stood there, unless that one moved', async t => {
  const dir = t.testdir({ 'targets.yaml': listOf(hook('a'), hook('b')) })
  const { latest, names, discovery } = await open(t, join(dir, 'targets.yaml'))
  const { name: _, ...nameless } = hook('b')
  const edit = async (...targets: unknown[]) => {
    writeFileSync(join(dir, 'targets.yaml'), listOf(...targets))
    await discovery.refresh()
    return latest().invalid.map(({ source, name, stale }) => [source, name, stale])
  }
  t.strictSame(await edit(hook('a'), nameless), [['targets.yaml targets[1]', 'b', true]])
  t.strictSame(names(), ['a', 'b'])
  t.strictSame(await edit(hook('a'), { ...hook('b'), name: 'Not A Name' }), [['targets.yaml targets[1]', 'b', true]])
  t.strictSame(await edit(hook('a'), nameless, hook('b')), [['targets.yaml targets[1]', undefined, false]])
  t.strictSame(names(), ['a', 'b'])
})

const unreadable: [what: string, text: string, message: string][] = [
  ['is broken YAML', 'targets:\n- name: [', 'is not valid YAML or JSON (line 2, column 10): bad indent'],
  ['is empty', '', 'has no list of targets: write {targets: [...]}, with [] for none'],
  ['has no targets', 'target: []', 'has no list of targets: write {targets: [...]}, with [] for none'],
  ['has targets that are no list', 'targets: {}', 'has no list of targets: write {targets: [...]}, with [] for none'],
  [
    'holds two documents',
    'targets: []\n---\ntargets: []',
    'is not valid YAML or JSON (line 2, column 1): multiple docs'
  ],
  ['has an unknown tag', 'targets: !vault []', 'is not valid YAML or JSON (line 1, column 10): tag resolve failed'],
  [
    'says a field twice in JSON',
    '{"targets": [],\n"targets": []}',
    'is not valid YAML or JSON (line 2, column 1): duplicate key'
  ],
  [
    'refers to nothing',
    'targets: *x',
    'is not valid YAML or JSON: an alias of an unknown anchor, or a merge key of no map'
  ],
  [
    'merges what is no map',
    'targets: []\n<<: 1',
    'is not valid YAML or JSON: an alias of an unknown anchor, or a merge key of no map'
  ]
]
for (const [what, text, message] of unreadable) {
  t.test(`a file that ${what} stops the start, and later changes nothing`, async t => {
    const dir = t.testdir({ 'bad.yaml': text, 'targets.yaml': listOf(hook('a')) })
    await t.rejects(open(t, join(dir, 'bad.yaml')), { message: `${join(dir, 'bad.yaml')} ${message}` })
    const path = join(dir, 'targets.yaml')
    const { names, reports, snapshots, discovery } = await open(t, path)
    writeFileSync(path, text)
    await t.rejects(discovery.refresh(), { message: `${path} ${message}` })
    t.strictSame(names(), ['a'])
    t.equal(snapshots.length, 1)
    t.strictSame(reports[1], { operation: 'reload', error: 'invalid', message: `${path} ${message}` })
  })
}

t.test('no text of a broken file is ever shown', async t => {
  const path = join(
    t.testdir({ 'targets.yaml': 'targets:\n- url: @topsecret\n  {topsecret: "topsecret\n' }),
    'targets.yaml'
  )
  const { events, reports } = watchLooks()
  const error = await fileDiscovery({ path, named: true }, events)
    .start(() => {})
    .catch(error => error)
  t.ok(error instanceof Error)
  t.notMatch(JSON.stringify(reports) + error.stack, 'topsecret')
})

t.test('an empty list of targets is no error', async t => {
  const { latest } = await open(t, join(t.testdir({ 'targets.yaml': 'targets: []' }), 'targets.yaml'))
  t.strictSame(latest(), { targets: [], invalid: [] })
})

t.test('an unknown field beside the targets is told', async t => {
  const text = JSON.stringify({ targets: [hook('a')], tragets: [hook('b')] })
  const { latest, names } = await open(t, join(t.testdir({ 'targets.yaml': text }), 'targets.yaml'))
  t.strictSame(names(), ['a'])
  t.match(latest().invalid, [
    { source: 'targets.yaml', problems: [{ field: 'tragets', message: 'is not a known field' }] }
  ])
})

t.test('a named file that does not exist stops the start', async t => {
  const path = join(t.testdir(), 'none.yaml')
  await t.rejects(open(t, path), { message: `${path} does not exist` })
})

t.test('a default file that does not exist means no targets, a warning, and targets once it does', async t => {
  const path = join(t.testdir(), 'targets.yaml')
  const { latest, names, reports } = await open(t, path, false)
  t.strictSame(latest(), { targets: [], invalid: [] })
  t.strictSame(reports, [
    { operation: 'reload', error: undefined, message: `${path} does not exist: no targets until it does` }
  ])
  writeFileSync(path, listOf(hook('a')))
  await until('a is there', () => names().join() === 'a')
})

t.test('what is neither file nor directory is refused and not waited for', async t => {
  await t.rejects(open(t, '/dev/null'), { message: '/dev/null is neither a file nor a directory' })
})

t.test('after it was stopped nothing is found', async t => {
  const dir = t.testdir({ 'targets.yaml': listOf(hook('a')) })
  const { snapshots, discovery } = await open(t, join(dir, 'targets.yaml'))
  writeFileSync(join(dir, 'targets.yaml'), listOf(hook('b')))
  const refreshed = discovery.refresh()
  await discovery.stop()
  await refreshed
  t.equal(snapshots.length, 1)
})
