import { setInterval as every } from 'node:timers/promises'
import { traceOf } from '../evidence/trace.ts'
import type { Directory } from '../tree/node.ts'
import { MountError } from './errors.ts'
import { findMount, findMountById } from './mount-table.ts'
import { prepareMountpoint, userMayAllowOthers } from './mountpoint.ts'
import { Operations } from './operations.ts'
import { raiseReadAhead } from './read-ahead.ts'
import { type ChosenTransport, chooseTransport, type Transport } from './transports.ts'
import { detach, unmount } from './unmount.ts'
import { startWatcher } from './watch.ts'

const trace = traceOf('vmssfs:fuse')

/** How often we look whether somebody else has unmounted us, in milliseconds: libfuse 2.9 does not tell. */
const WATCH_INTERVAL = 500

/** In KiB. */
const DEFAULT_READ_AHEAD = 1024

/** The options of mount(8) and libfuse that a mount of evidence can have; it is read-only in any case. */
export interface MountOptions {
  /** Let other users in, and root, which FUSE keeps out of an ordinary user's mount. */
  readonly allowOther: boolean
  readonly allowRoot: boolean
  /** Let the kernel check the modes. */
  readonly defaultPermissions: boolean
  readonly uid: number
  readonly gid: number
  readonly umask: number
  /** The source that the mount table shows. */
  readonly fsname: string
  /** `auto` takes the kernel's own where it can. */
  readonly transport: Transport | 'auto'
  /** How many threads serve the kernel transport; undefined: as many as suit the machine. */
  readonly workers: number | undefined
  /** How far the kernel reads ahead, in KiB, where we may say so, which is root's. */
  readonly readAhead: number
  /** Let the kernel read a file of evidence that the tree shows whole by itself, where it can. */
  readonly passthrough: boolean
  /** Have another process clear the mount if this one is killed before it could. */
  readonly watch: boolean
}

/** What a mount has unless it is told otherwise: it belongs to whoever mounts, and to nobody else. */
export function defaultMountOptions(): MountOptions {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0]
  return {
    allowOther: false,
    allowRoot: false,
    defaultPermissions: false,
    uid,
    gid,
    umask: 0,
    fsname: 'vmssfs',
    transport: 'auto',
    workers: undefined,
    readAhead: DEFAULT_READ_AHEAD,
    passthrough: true,
    watch: true,
  }
}

/** What a transport has to say of the mount that it serves. */
export interface Served {
  /** Whether the kernel reads a file of the tree by itself. */
  readonly passthrough: boolean
  /** Resolves when the mount is gone, if the transport can tell. */
  readonly ended?: Promise<void>
  /** Takes a mount that is in use out of sight, and ends serving it if the transport can. */
  detach?(): Promise<void>
}

/** A tree that is mounted. */
export interface Mount {
  /** The absolute path, without links. */
  readonly mountpoint: string
  readonly transport: Transport
  /** Whether the kernel reads physmem.raw by itself, from the evidence. */
  readonly passthrough: boolean
  /** Resolves when the mount is gone, whoever took it away. */
  readonly ended: Promise<void>
  /**
   * Takes it away; if it is in use, only out of sight, and the answer says by whom it is used. They are told ENOTCONN from
   * when nobody serves them: at once with the kernel transport, when this process ends with fuse-native.
   */
  unmount(): Promise<{ detached?: string }>
}

/**
 * Mounts a tree, read-only, and serves it from this process until it is unmounted, by a transport that was chosen before or
 * that the options name.
 *
 * @throws MountError
 */
export async function mount(
  root: Directory,
  path: string,
  given: Partial<MountOptions> = {},
  chosen?: ChosenTransport,
): Promise<Mount> {
  const options = { ...defaultMountOptions(), ...given }
  const transport = chosen ?? (await chooseTransport(options.transport, options.workers))
  try {
    return await mountWith(transport, root, path, options)
  } catch (error) {
    transport.cancel()
    throw error
  }
}

async function mountWith(
  transport: ChosenTransport,
  root: Directory,
  path: string,
  options: MountOptions,
): Promise<Mount> {
  if ((options.allowOther || options.allowRoot) && !userMayAllowOthers()) {
    const hint = 'have root add that line to /etc/fuse.conf, or mount without allow_other and allow_root'
    throw new MountError('/etc/fuse.conf: expected the line user_allow_other, found none', hint)
  }
  const mountpoint = await prepareMountpoint(path, transport.name)
  const watcher = options.watch ? startWatcher() : undefined
  try {
    const served = await transport.serve(new Operations(root, options), mountpoint, options)
    const entry = await findMount(mountpoint)
    if (entry === undefined) {
      throw new MountError(`${path}: expected the mount in the mount table, found none`)
    }
    trace('%s: mounted, transport %s', mountpoint, transport.name)
    watcher?.watch(entry.id)
    raiseReadAhead(entry.device, options.readAhead)
    const ended = served.ended ?? untilGone(entry.id)
    ended.then(() => watcher?.stop())
    const { passthrough } = served
    return { mountpoint, transport: transport.name, passthrough, ended, unmount: () => end(mountpoint, served) }
  } catch (error) {
    watcher?.stop()
    throw error
  }
}

async function end(mountpoint: string, served: Served): Promise<{ detached?: string }> {
  try {
    await unmount(mountpoint)
    return {}
  } catch (error) {
    await (served.detach?.() ?? detach(mountpoint))
    return { detached: (error as Error).message }
  }
}

async function untilGone(id: string): Promise<void> {
  for await (const _ of every(WATCH_INTERVAL)) {
    if ((await findMountById(id)) === undefined) {
      return
    }
  }
}
