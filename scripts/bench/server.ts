import { mkdtempSync, rmdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually, type Finished, run, start } from '../../test/support/mount.ts'
import { type Evidence, MEBIBYTE } from './evidence.ts'
import { processesWith, processorTimeOf, residentSizeOf } from './processes.ts'
import type { Subject } from './subjects.ts'

/** No server is needed longer, in milliseconds. */
const LIMIT = 3_600_000

/** How many bytes are compared with the image before anything is measured: enough for every size of request. */
const COMPARED_SIZE = 64 * MEBIBYTE

/** The variable by which the processes of a mount are found again, whatever they do to become daemons. */
const MARK = 'VMSSFS_BENCH_MOUNT'

/** A subject that shows some evidence. */
export interface Server {
  readonly mountpoint: string
  /** The file that has the memory. */
  readonly file: string
  /** When its command was started, on the clock of performance.now(). */
  readonly startedAt: number
  /** Seconds of processor time that its processes have used. */
  processorTime(): number
  /** Bytes of memory of its processes that are resident; what they share counts for each. */
  residentSize(): number
  /** Unmounts, and ends its processes. */
  stop(): Promise<void>
}

/**
 * Starts a subject on a new mountpoint in the directory, and resolves when its file is there: to undefined if it has nothing
 * to show of the evidence.
 *
 * @throws Error with what it says, if it does not mount.
 */
export async function startServer(
  subject: Subject,
  evidence: Evidence,
  directory: string,
): Promise<Server | undefined> {
  const mountpoint = mkdtempSync(join(directory, `${subject.name}-`))
  const command = subject.command(evidence, mountpoint)
  if (command === undefined) {
    rmdirSync(mountpoint)
    return undefined
  }
  const [program, ...args] = command as [string, ...string[]]
  const variable = `${MARK}=${mountpoint}`
  const file = join(mountpoint, subject.file(evidence))
  const startedAt = performance.now()
  const { finished } = start(program, args, { limit: LIMIT, env: { [MARK]: mountpoint } })
  if (subject.goesToBackground) {
    check(subject, await finished)
  } else {
    await Promise.race([untilThere(file), finished.then((end) => check(subject, end))])
  }
  const sum = (of: (pid: number) => number) => processesWith(variable).reduce((total, pid) => total + of(pid), 0)
  return {
    mountpoint,
    file,
    startedAt,
    processorTime: () => sum(processorTimeOf),
    residentSize: () => sum(residentSizeOf),
    async stop() {
      await run('fusermount3', ['-uz', mountpoint])
      // A mount namespace that was made meanwhile has a copy of the mount, and the server would live as long as that.
      await run('kill', ['-KILL', ...processesWith(variable).map(String)])
      await eventually(`${subject.name} has ended`, () => processesWith(variable).length === 0)
      rmdirSync(mountpoint)
    },
  }
}

/**
 * Starts a subject and stops it again.
 *
 * @throws Error if it does not mount, or shows other bytes than those of the image.
 */
export async function checkServer(subject: Subject, evidence: Evidence, directory: string): Promise<void> {
  const server = await startServer(subject, evidence, directory)
  if (server !== undefined && evidence.image !== undefined) {
    const { path, offset } = evidence.image
    const { status, stdout, stderr } = await run('cmp', ['-n', `${COMPARED_SIZE}`, path, server.file, `${offset}`, '0'])
    await server.stop()
    if (status !== 0) {
      throw new Error(`${subject.name}: expected the bytes of the image, found ${stdout || stderr}`)
    }
  }
}

function check(subject: Subject, { status, signal, stderr }: Finished): void {
  if (status !== 0) {
    throw new Error(`${subject.name}: expected that it mounts, found ${status ?? signal}: ${stderr.split('\n')[0]}`)
  }
}

async function untilThere(file: string): Promise<void> {
  while (statSync(file, { throwIfNoEntry: false }) === undefined) {
    await sleep(1)
  }
}
