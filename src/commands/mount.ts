import { spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import { basename } from 'node:path'
import { printable } from '../evidence/printable.ts'
import { type Mount, mount } from '../fuse/mount.ts'
import { commandLine } from '../fuse/mountpoint.ts'
import { unmountCommand } from '../fuse/unmount.ts'
import { type Guest, openCheckpoint } from '../guest/guest.ts'
import { planTree } from '../tree/plan.ts'
import { parseMountOptions } from './mount-options.ts'

/** What the command line of `vmssfs mount` says besides the evidence and the mountpoint. */
export interface MountArguments {
  readonly foreground?: boolean
  /** The lists behind -o. */
  readonly option?: readonly string[]
  readonly vmem?: string
  /** `false` for --no-memory. */
  readonly memory?: boolean
}

/** Problems said on standard error; the rest stands in meta/problems.txt. */
const PROBLEMS_SAID = 10

/** How a daemon tells whoever started it with a channel that its mount is there. */
const READY = 'mounted'

const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Mounts, and serves until the mount is gone or a signal ends it.
 *
 * @throws EvidenceError, MountError, UsageError
 */
export async function mountInForeground(evidence: string, mountpoint: string, given: MountArguments): Promise<void> {
  const options = parseMountOptions(given.option ?? [])
  const guest = openCheckpoint(evidence, {
    ...(given.vmem === undefined ? {} : { vmem: given.vmem }),
    ...(given.memory === undefined ? {} : { memory: given.memory }),
  })
  sayProblems(guest)
  const mounted = await mount(planTree(guest), mountpoint, options)
  const ending = endOnSignal(mounted)
  process.send?.(READY)
  // Nobody is kept from unmounting or removing the folder that the command was given in.
  process.chdir('/')
  await Promise.race([mounted.ended, ending])
}

/**
 * Starts the same command line again as a daemon, and waits until its mount answers. What it has to say until then comes out
 * of this process's standard error. Resolves to the exit code.
 */
export async function mountInBackground(mountpoint: string): Promise<number> {
  const [node, command, ...rest] = process.argv as [string, string, ...string[]]
  const args = [...process.execArgv, command, 'mount', '--foreground', ...rest.slice(rest[0] === 'mount' ? 1 : 0)]
  const daemon = spawn(node, args, { detached: true, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  daemon.stderr?.pipe(process.stderr)
  for (const signal of ENDING_SIGNALS) {
    process.on(signal, () => daemon.kill(signal))
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    daemon.once('message', () => resolve(0))
    daemon.once('exit', resolve)
    daemon.once('error', reject)
  })
  if (code === 0) {
    statSync(mountpoint)
  }
  return code ?? 1
}

/** Unmounts on the first signal; resolves when that is done. */
function endOnSignal(mounted: Mount): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = async () => {
      const { detached } = await mounted.unmount()
      if (detached !== undefined) {
        say(`detached, though ${detached}`)
      }
    }
    for (const signal of ENDING_SIGNALS) {
      process.once(signal, () => end().then(resolve, reject))
    }
  })
}

function sayProblems({ problems }: Guest): void {
  for (const { message } of problems.slice(0, PROBLEMS_SAID)) {
    say(`problem: ${message}`)
  }
  if (problems.length > PROBLEMS_SAID) {
    say(`problem: ${problems.length - PROBLEMS_SAID} more, see meta/problems.txt in the mount`)
  }
}

function say(text: string): void {
  process.stderr.write(`vmssfs: ${text}\n`)
}

/** One line for whoever has just mounted in the background. */
export function describeMount(evidence: string, mountpoint: string): string {
  const command = commandLine(unmountCommand(mountpoint))
  return printable(`${basename(evidence)} is mounted on ${mountpoint}; unmount it with: ${command}`)
}
