import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { traceOf } from '../evidence/trace.ts'

const trace = traceOf('vmssfs:fuse')

/** What is built has this name; the compiler rewrites those of imports only. */
const CLEAR = fileURLToPath(new URL('./clear.js', import.meta.url))

/** What clears a mount if this process is killed before it could. */
export interface Watcher {
  /** Names the mount, by its number in the mount table. */
  watch(id: string): void
  /** Calls it off. */
  stop(): void
}

/**
 * Starts a watcher: xargs(1), which takes next to no time and memory, and runs what clears the mount once its standard input
 * has ended, whose other end only this process has. It has a session of its own, so that Ctrl-C does not reach it.
 *
 * To be done before there is a device: libfuse 2 lets every process that is started later inherit that, and a mount lives as
 * long as one has it. Where there is no xargs, nothing is lost but the clearing.
 */
export function startWatcher(): Watcher {
  const watcher = spawn('xargs', ['-0', '-r', process.execPath, CLEAR], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  watcher.on('error', (error) => trace('nobody watches the mount: %s', error.message))
  watcher.unref()
  const lifeline = watcher.stdin as Socket
  lifeline.on('error', () => undefined)
  lifeline.unref()
  return { watch: (id) => lifeline.write(`${id}\0`), stop: () => watcher.kill() }
}
