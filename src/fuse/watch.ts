import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import { traceOf } from '../evidence/trace.ts'

const trace = traceOf('vmssfs:fuse')

/** What is built has this name; the compiler rewrites those of imports only. */
const WATCHER = fileURLToPath(new URL('./watcher.js', import.meta.url))

/** Its start should take no time from ours. */
const NICE = 10

/** What clears a mount if this process is killed before it could. */
export interface Watcher {
  /** Names the mount, by its number in the mount table. */
  watch(id: string): void
  /** Calls it off. */
  stop(): void
}

/**
 * Starts a watcher, which is a process, in a session of its own so that Ctrl-C does not reach it. To be done before there is
 * a device: libfuse 2 lets every process that is started later inherit that, and a mount lives as long as one has it. Where
 * no process can be started, nothing is lost but the clearing.
 */
export function startWatcher(): Watcher {
  const watcher = spawn(process.execPath, [WATCHER], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  watcher.on('error', (error) => trace('nobody watches the mount: %s', error.message))
  watcher.unref()
  const lifeline = watcher.stdin as Socket
  lifeline.on('error', () => undefined)
  lifeline.unref()
  if (watcher.pid !== undefined) {
    setPriority(watcher.pid, NICE)
  }
  return { watch: (id) => lifeline.write(id), stop: () => watcher.kill() }
}
