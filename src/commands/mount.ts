import { basename } from 'node:path'
import { printable } from '../evidence/printable.ts'
import { type Mount, mount } from '../fuse/mount.ts'
import { chooseTransport } from '../fuse/transports.ts'
import { commandLine, unmountCommand } from '../fuse/unmount.ts'
import { logTo, note, say } from '../output/say.ts'
import { ENDING_SIGNALS, type Mounted } from './background.ts'
import { type EvidenceArguments, openTree } from './evidence.ts'
import { parseMountOptions } from './mount-options.ts'
import { type TransportArguments, transportOptions } from './transport-options.ts'

/** What the command line of `vmssfs mount` says besides the evidence and the mountpoint. */
export interface MountArguments extends EvidenceArguments, TransportArguments {
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
  const options = { ...parseMountOptions(given.option ?? []), ...transportOptions(given) }
  if (given.logFile !== undefined) {
    logTo(given.logFile)
  }
  // Before the evidence is opened, so that what the transport starts is there by then.
  const transport = await chooseTransport(options.transport, options.workers)
  const { root } = openTree(evidence, given)
  // Heard from now on, so that no signal can end us between mounting and being able to unmount.
  const signalled = new Promise<void>((resolve) => {
    for (const signal of ENDING_SIGNALS) {
      process.on(signal, () => resolve())
    }
  })
  const mounted = await mount(root, mountpoint, options, transport)
  const passthrough = mounted.passthrough ? 'on' : 'off'
  note(`${evidence} is mounted on ${mounted.mountpoint}: transport ${mounted.transport}, passthrough ${passthrough}`)
  if (process.send !== undefined) {
    const command = commandLine(unmountCommand(mountpoint))
    const text = printable(`${basename(evidence)} is mounted on ${mountpoint}; unmount it with: ${command}`)
    becomeDaemon({ mountpoint: mounted.mountpoint, text })
  }
  await Promise.race([mounted.ended, signalled.then(() => endMount(mounted))])
}

/**
 * Lets go of what belongs to whoever started us: the channel and the folder we stand in. Standard error stays open though
 * nobody reads it any more: another thread could get its number, and what libraries write there would go astray.
 */
function becomeDaemon(mounted: Mounted): void {
  process.send?.(mounted)
  process.disconnect()
  process.chdir('/')
}

/** Unmounts, and says so if the mount is in use and only out of sight. */
export async function endMount(mounted: Mount): Promise<void> {
  const { detached } = await mounted.unmount()
  if (detached !== undefined) {
    say(`detached, though ${detached}`)
  }
}
