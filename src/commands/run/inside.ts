import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { MountError } from '../../fuse/errors.ts'
import { mount } from '../../fuse/mount.ts'
import { chooseTransport } from '../../fuse/transports.ts'
import { say } from '../../output/say.ts'
import { type EvidenceArguments, openTree } from '../evidence.ts'
import { exitStatusOf } from '../exit-status.ts'
import { endMount } from '../mount.ts'
import { type TransportArguments, transportOptions } from '../transport-options.ts'
import { removeFolder } from './folder.ts'
import { endNamespace, ownNamespace } from './namespace.ts'
import type { InsideMessage } from './outside.ts'
import { leaveTerminalSignals, passSignalsTo } from './signals.ts'

/** What the command line of `vmssfs run` says besides the evidence and the command. */
export interface RunArguments extends EvidenceArguments, TransportArguments {
  /** The folder to mount on; `runOutside` gives it to the process that it starts in a namespace. */
  readonly inside?: string
}

/** What a shell answers for a program that is not there, and for one that cannot be run (POSIX, Exit Status for Commands). */
const [NOT_FOUND, NOT_EXECUTABLE] = [127, 126]

/**
 * Mounts in the namespace that was made for this process, runs the command there, and unmounts. What the command leaves in
 * the background goes on, without the mount. Resolves to the exit status of the command.
 *
 * @throws EvidenceError, MountError, UsageError
 */
export async function runInside(
  evidence: string,
  command: readonly string[],
  folder: string,
  given: RunArguments,
): Promise<number> {
  const namespace = ownNamespace()
  try {
    // With this process its namespace ends, and the mount with that.
    const options = { ...transportOptions(given), watch: false }
    // Before the evidence is opened, so that what the transport starts is there by then. libfuse 2, the other one, would let
    // the command inherit the device, and whatever it leaves in the background would wait for an answer for ever.
    const transport = await chooseTransport('kernel', options.workers)
    const { root } = openTree(evidence, given)
    const mounted = await mount(root, folder, options, transport)
    const status = await runCommand(command, mounted.mountpoint, namespace)
    await endMount(mounted)
    tell({ status })
    return status
  } finally {
    removeFolder(folder)
  }
}

/** Whoever started us may be gone, which the channel itself says. */
function tell(message: InsideMessage): void {
  process.send?.(message, undefined, undefined, () => undefined)
}

async function runCommand(command: readonly string[], mountpoint: string, namespace: string): Promise<number> {
  if (!process.connected) {
    throw new MountError('expected the process that waits for the command, found that it is gone')
  }
  leaveTerminalSignals()
  tell({ namespace })
  const end = () => endNamespace(namespace)
  process.once('disconnect', end)
  // A bug may end this process at any time.
  process.once('exit', end)
  try {
    return await statusOf(startCommand(command, mountpoint))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    say(`${command[0]}: expected a program that can be run, found ${code}`)
    return code === 'ENOENT' ? NOT_FOUND : NOT_EXECUTABLE
  } finally {
    process.off('disconnect', end)
    process.off('exit', end)
  }
}

function startCommand([program, ...args]: readonly string[], mountpoint: string): ChildProcess {
  let child: ChildProcess | undefined
  // The command may run before we know.
  passSignalsTo(() => child)
  const env = { ...process.env, VMSSFS: mountpoint }
  child = spawn(program as string, withMountpoint(args, mountpoint), { stdio: 'inherit', env })
  return child
}

/**
 * The arguments with the mountpoint in the place of every `{}`. The program itself is taken as it is: while the kernel looks
 * for it, this thread waits, so it must not be looked for where this thread has to answer.
 */
function withMountpoint(args: readonly string[], mountpoint: string): string[] {
  return args.map((arg) => arg.replaceAll('{}', () => mountpoint))
}

async function statusOf(child: ChildProcess): Promise<number> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  return exitStatusOf(code, signal)
}
