import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { constants } from 'node:os'
import { basename } from 'node:path'
import type { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { printable } from '../evidence/printable.ts'
import { commandLine, unmountCommand } from '../fuse/unmount.ts'

/** How a daemon tells whoever started it with a channel that its mount is there. */
export const READY = 'mounted'

/** The signals that end a mount. */
export const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Starts this command line again as a daemon in the foreground of its own, and waits until its mount answers. What it has to
 * say until then comes out of this process's standard error. Resolves to the exit code.
 */
export async function mountInBackground(evidence: string, mountpoint: string): Promise<number> {
  const [node, command, ...rest] = process.argv as [string, string, ...string[]]
  const args = [...process.execArgv, command, 'mount', '--foreground', ...rest.slice(rest[0] === 'mount' ? 1 : 0)]
  const daemon = spawn(node, args, { detached: true, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  ;(daemon.stderr as Readable).pipe(process.stderr)
  for (const signal of ENDING_SIGNALS) {
    process.on(signal, () => daemon.kill(signal))
  }
  const ready = once(daemon, 'message').then(() => 0)
  const ended = once(daemon, 'close').then(
    ([code, signal]) => code ?? 128 + constants.signals[signal as NodeJS.Signals],
  )
  const code = await Promise.race([ready, ended])
  // What the daemon wrote before it said that it is ready is in the pipe, and read in this turn of the event loop.
  await setImmediate()
  if (code === 0) {
    statSync(mountpoint)
    const unmount = commandLine(unmountCommand(mountpoint))
    process.stdout.write(printable(`${basename(evidence)} is mounted on ${mountpoint}; unmount it with: ${unmount}`))
    process.stdout.write('\n')
  }
  return code
}
