import { closeSync, openSync } from 'node:fs'
import { type Mount, mount } from '../fuse/mount.ts'
import { ENDING_SIGNALS, READY } from './background.ts'
import { type EvidenceArguments, openTree } from './evidence.ts'
import { parseMountOptions } from './mount-options.ts'
import { logTo, say } from './say.ts'

/** What the command line of `vmssfs mount` says besides the evidence and the mountpoint. */
export interface MountArguments extends EvidenceArguments {
  readonly foreground?: boolean
  /** The lists behind -o. */
  readonly option?: readonly string[]
  readonly logFile?: string
}

/**
 * Mounts, and serves until the mount is gone or a signal ends it.
 *
 * @throws EvidenceError, MountError, UsageError
 */
export async function mountCheckpoint(evidence: string, mountpoint: string, given: MountArguments): Promise<void> {
  const options = parseMountOptions(given.option ?? [])
  if (given.logFile !== undefined) {
    logTo(given.logFile)
  }
  const { root } = openTree(evidence, given)
  // Heard from now on, so that no signal can end us between mounting and being able to unmount.
  const signalled = new Promise<void>((resolve) => {
    for (const signal of ENDING_SIGNALS) {
      process.on(signal, () => resolve())
    }
  })
  const mounted = await mount(root, mountpoint, options)
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
