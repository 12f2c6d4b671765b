import { constants, readdirSync, readFileSync, realpathSync, statfsSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { traceOf } from '../evidence/trace.ts'
import { MountError } from './errors.ts'
import { findMount } from './mount-table.ts'
import { hasProgram, isAccessible, isRoot } from './programs.ts'
import type { Transport } from './transports.ts'
import { commandLine, detach, unmountCommand } from './unmount.ts'

const trace = traceOf('vmssfs:fuse')

/** The longest mountpoint that each transport does not silently cut or refuse, in bytes: fuse-native's own, and Linux's. */
const PATH_MAX: Record<Transport, number> = { 'fuse-native': 1023, kernel: 4095 }

/** The program that each of them mounts with where it is not root's. */
const FUSERMOUNT: Record<Transport, string> = { 'fuse-native': 'fusermount', kernel: 'fusermount3' }

/**
 * Makes sure that a mount is possible here and that the mountpoint is an empty folder of its own; a stale mount of ours on
 * it, left by a daemon that was killed, is cleared. Returns its absolute path, without links.
 *
 * @throws MountError
 */
export async function prepareMountpoint(path: string, transport: Transport): Promise<string> {
  checkFuse(transport)
  const mountpoint = realPath(path)
  const longest = PATH_MAX[transport]
  if (Buffer.byteLength(mountpoint) > longest) {
    throw new MountError(`${path}: expected a path of at most ${longest} bytes, found ${Buffer.byteLength(mountpoint)}`)
  }
  const entry = await findMount(mountpoint)
  if (entry !== undefined && isStale(mountpoint)) {
    if (!entry.ours) {
      throw new MountError(
        `${path}: a dead mount of type ${entry.type} is in the way`,
        commandLine(unmountCommand(mountpoint, true)),
      )
    }
    trace('%s: clearing a stale mount of ours', mountpoint)
    await detach(mountpoint)
  } else if (entry?.ours) {
    throw new MountError(`${path}: a checkpoint is already mounted there`, commandLine(unmountCommand(mountpoint)))
  } else if (entry !== undefined) {
    throw new MountError(
      `${path}: in use, a filesystem of type ${entry.type} is mounted there`,
      'choose another folder',
    )
  }
  checkFolder(path, mountpoint)
  return mountpoint
}

/** The absolute path without links; a stale mount in its place cannot be looked into, so only its folder is resolved then. */
export function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    switch ((error as NodeJS.ErrnoException).code) {
      case 'ENOTCONN': {
        const absolute = resolve(path)
        return join(realpathSync(dirname(absolute)), basename(absolute))
      }
      case 'ENOENT':
        throw new MountError(
          `${path}: expected a folder to mount on, found nothing`,
          commandLine(['mkdir', '-p', path]),
        )
      default:
        throw new MountError(`${path}: expected a folder to mount on, found ${(error as Error).message}`)
    }
  }
}

/**
 * A mount whose daemon is gone: what the kernel has to ask it is answered with ENOTCONN. statfs(2) is always asked; stat(2)
 * may be answered from what the kernel was told to keep.
 */
export function isStale(mountpoint: string): boolean {
  try {
    statfsSync(mountpoint)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOTCONN'
  }
}

/** The line without which fusermount refuses -o allow_other and allow_root to everyone but root. */
export function userMayAllowOthers(): boolean {
  if (isRoot()) {
    return true
  }
  try {
    return /^\s*user_allow_other\s*$/m.test(readFileSync('/etc/fuse.conf', 'utf8'))
  } catch {
    return false
  }
}

function checkFuse(transport: Transport): void {
  if (!isAccessible('/dev/fuse', constants.F_OK)) {
    throw new MountError(
      '/dev/fuse: expected the device of FUSE, found nothing',
      'modprobe fuse (as root; in a container, pass the device in)',
    )
  }
  if (!isAccessible('/dev/fuse', constants.R_OK | constants.W_OK)) {
    throw new MountError(
      '/dev/fuse: expected that you may read and write it, found that you may not',
      'chmod a+rw /dev/fuse (as root)',
    )
  }
  const program = FUSERMOUNT[transport]
  if (!isRoot() && !hasProgram(program)) {
    throw new MountError(
      `${program}: expected the program that mounts for an ordinary user, found none in PATH`,
      'install fuse3 (apt-get install fuse3, dnf install fuse3 fuse, ...)',
    )
  }
}

function checkFolder(path: string, mountpoint: string): void {
  if (!statSync(mountpoint).isDirectory()) {
    throw new MountError(`${path}: expected a folder to mount on, found a file`)
  }
  let names: string[]
  try {
    names = readdirSync(mountpoint)
  } catch (error) {
    throw new MountError(`${path}: expected a folder that can be read, found ${(error as Error).message}`)
  }
  if (names.length > 0) {
    throw new MountError(
      `${path}: expected an empty folder to mount on, found ${names.length} entries in it`,
      'choose or make an empty folder',
    )
  }
  if (!isAccessible(mountpoint, constants.W_OK)) {
    throw new MountError(
      `${path}: expected a folder that you may write to, as fusermount demands, found none`,
      'choose a folder of your own',
    )
  }
}
