import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { exitStatusOf } from './exit-status.ts'

/** What a daemon tells whoever started it with a channel once its mount is there: where, and what to say of it. */
export interface Mounted {
  readonly mountpoint: string
  readonly text: string
}

/** The signals that end a mount. */
export const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Whether a command line is certain to be a mount in the background, as most are: so that whoever waits for the mount does
 * not wait for two processes, one after the other, to understand it. No other command has a dot or a slash in its name.
 */
export function isMountInBackground([first = '', ...rest]: readonly string[]): boolean {
  const asksOtherwise = [first, ...rest].some((word) => /^(-[fh]|--foreground|--help)/.test(word))
  return (first === 'mount' || /[./]/.test(first)) && !asksOtherwise
}

/**
 * Starts a command line that mounts as a daemon in the foreground of its own, and waits until its mount answers. What it has
 * to say until then comes out of this process's standard error. Resolves to the exit code.
 */
export async function mountInBackground(words: readonly string[]): Promise<number> {
  const [node, command] = process.argv as [string, string]
  const rest = words[0] === 'mount' ? words.slice(1) : words
  const daemon = spawn(node, [...process.execArgv, command, 'mount', '--foreground', ...rest], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  ;(daemon.stderr as Readable).pipe(process.stderr)
  for (const signal of ENDING_SIGNALS) {
    process.on(signal, () => daemon.kill(signal))
  }
  const ready = once(daemon, 'message').then(([mounted]) => mounted as Mounted)
  const ended = once(daemon, 'close').then(([code, signal]) => exitStatusOf(code, signal))
  const outcome: Mounted | number = await Promise.race([ready, ended])
  if (typeof outcome === 'number') {
    return outcome
  }
  // What the daemon wrote before it said that it is ready is in the pipe, and read in this turn of the event loop.
  await setImmediate()
  statSync(outcome.mountpoint)
  process.stdout.write(`${outcome.text}\n`)
  return 0
}
