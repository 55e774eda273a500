import { type FSWatcher, watch } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Discovery, DiscoveryEvents, Snapshot } from './contract.js'
import { fingerprint, missing, readEntries, Unreadable } from './files.js'
import { openPicture } from './snapshot.js'

/** How often to look where the system tells of no change (network mounts); how long a change must have lasted. */
const pollMs = 2_000
const settleMs = 50

interface FileOptions {
  /** A file `{targets: [...]}`, or a directory with one target per file. */
  path: string
  /** Whether somebody asked for this very path: then it must exist at the start. */
  named: boolean
}

/**
 * Finds targets in a YAML or JSON file, or in a directory of them, and again whenever it changes. What cannot be read at
 * the start stops the start (but for a default file that does not exist); later it leaves everything as it is.
 */
export function fileDiscovery({ path, named }: FileOptions, events: DiscoveryEvents): Discovery {
  const picture = openPicture()
  const bell = openBell()
  let found: (snapshot: Snapshot) => void
  let seen = ''
  let stopped = false
  let turn: Promise<void> = Promise.resolve()

  async function load(print: string): Promise<void> {
    const began = performance.now()
    seen = print
    try {
      const entries = await readEntries(path)
      if (stopped) return
      found(picture(entries))
      events.looked('reload', performance.now() - began)
    } catch (error) {
      const known = error instanceof Unreadable
      const message = known
        ? error.message
        : `${path} could not be loaded: a bug (${error instanceof Error && error.name})`
      events.looked('reload', performance.now() - began, known ? 'invalid' : 'other', message)
      throw error
    }
  }

  /** Loads what differs from what was seen, once it differs no more: a file still being written would be cut short. */
  async function lookForChange(): Promise<void> {
    let print = await fingerprint(path)
    if (print === seen) return
    for (let before = ''; before !== print && !stopped; print = await fingerprint(path)) {
      before = print
      await sleep(settleMs)
    }
    if (!stopped) await load(print)
  }

  async function keepLooking(): Promise<void> {
    while (!stopped) {
      // Opened anew each time, since the last change may have replaced the directory itself.
      const close = watching(path, bell.ring)
      const before = seen
      bell.ring()
      while (!stopped && seen === before) {
        await bell.heard(pollMs)
        // Whatever else changes beside the targets rings too, a log for one: that must not cost a look for each line.
        await sleep(settleMs)
        await inTurn(lookForChange).catch(() => {})
      }
      close()
    }
  }

  function inTurn(look: () => Promise<void>): Promise<void> {
    const looked = turn.then(look)
    turn = looked.catch(() => {})
    return looked
  }

  return {
    source: 'file',
    async start(onFound) {
      found = onFound
      const print = await fingerprint(path)
      if (print === missing && !named) {
        seen = print
        found(picture([]))
        events.looked('reload', 0, undefined, `${path} does not exist: no targets until it does`)
      } else await load(print)
      void keepLooking()
    },
    refresh: () => inTurn(async () => load(await fingerprint(path))),
    async stop() {
      stopped = true
      bell.ring()
      await turn
    }
  }
}

/** Lets a loop sleep until it is told of something, even if that was while it was not asleep. */
function openBell() {
  let rung = false
  let wake = () => {}
  return {
    ring() {
      rung = true
      wake()
    },
    async heard(timeoutMs: number): Promise<void> {
      let timer: NodeJS.Timeout | undefined
      const told = new Promise<void>(resolve => {
        wake = resolve
        timer = setTimeout(resolve, timeoutMs)
      })
      if (!rung) await told
      clearTimeout(timer)
      rung = false
    }
  }
}

/** Watches the path and its directory, since editors and kubelets replace files instead of writing to them. */
function watching(path: string, changed: () => void): () => void {
  const watchers: FSWatcher[] = []
  for (const place of [dirname(path), path]) {
    try {
      watchers.push(watch(place, { persistent: false }, changed).on('error', () => {}))
    } catch {
      // It does not exist, or the system has no watch left: then the poll sees changes, later.
    }
  }
  return () => {
    for (const watcher of watchers) watcher.close()
  }
}
