import { closeSync, openSync } from 'node:fs'
import { type Mount, mount } from '../fuse/mount.ts'
import { type Guest, openCheckpoint } from '../guest/guest.ts'
import { planTree } from '../tree/plan.ts'
import { ENDING_SIGNALS, READY } from './background.ts'
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

/**
 * Mounts, and serves until the mount is gone or a signal ends it.
 *
 * @throws EvidenceError, MountError, UsageError
 */
export async function mountCheckpoint(evidence: string, mountpoint: string, given: MountArguments): Promise<void> {
  const options = parseMountOptions(given.option ?? [])
  const { vmem, memory } = given
  const guest = openCheckpoint(evidence, {
    ...(vmem === undefined ? {} : { vmem }),
    ...(memory === undefined ? {} : { memory }),
  })
  sayProblems(guest)
  // Heard from now on, so that no signal can end us between mounting and being able to unmount.
  const signalled = new Promise<void>((resolve) => {
    for (const signal of ENDING_SIGNALS) {
      process.on(signal, () => resolve())
    }
  })
  const mounted = await mount(planTree(guest), mountpoint, options)
  if (process.send !== undefined) {
    becomeDaemon()
  }
  await Promise.race([mounted.ended, signalled.then(() => end(mounted))])
}

/** Lets go of everything that belongs to whoever started us: the channel, standard error and the folder we stand in. */
function becomeDaemon(): void {
  process.send?.(READY)
  process.disconnect()
  closeSync(2)
  // Takes the lowest number that is free, which is the one just closed.
  openSync('/dev/null', 'a')
  process.chdir('/')
}

async function end(mounted: Mount): Promise<void> {
  const { detached } = await mounted.unmount()
  if (detached !== undefined) {
    say(`detached, though ${detached}`)
  }
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
