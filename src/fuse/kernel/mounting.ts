import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { MountError } from '../errors.ts'
import type { MountOptions } from '../mount.ts'
import { SUBTYPE } from '../mount-table.ts'
import { isRoot } from '../programs.ts'
import { loadLibc } from './libc.ts'

/** Every mount has these, whoever mounts. */
const FIXED_OPTIONS = ['ro', 'nosuid', 'nodev', 'noexec']

/** The mode of the root as the kernel wants to know it beforehand, in octal: a folder. */
const ROOT_MODE = '40000'

/**
 * Mounts, and returns the descriptor of the device on which the kernel asks. It has asked its first request, INIT, by then.
 *
 * @throws MountError
 */
export function mountDevice(mountpoint: string, options: MountOptions): Promise<number> {
  return isRoot() ? mountAsRoot(mountpoint, options) : mountWithFusermount(mountpoint, options)
}

/** mount(8) inherits the device that we have opened. Without -c it would take a source that names a file for a path. */
async function mountAsRoot(mountpoint: string, options: MountOptions): Promise<number> {
  const device = openSync('/dev/fuse', 'r+')
  const list = ['fd=3', `rootmode=${ROOT_MODE}`, 'user_id=0', 'group_id=0', ...FIXED_OPTIONS, ...accessOptions(options)]
  const args = ['-i', '-c', '-t', `fuse.${SUBTYPE}`, '-o', list.join(','), '--source', options.fsname]
  const program = spawn('mount', [...args, '--target', mountpoint], { stdio: ['ignore', 'ignore', 'pipe', device] })
  try {
    await succeed(program, mountpoint)
    return device
  } catch (error) {
    closeSync(device)
    throw error
  }
}

/** fusermount3 is setuid root; it opens the device itself and sends us the descriptor, through the socket that we give it. */
async function mountWithFusermount(mountpoint: string, options: MountOptions): Promise<number> {
  const libc = await loadLibc()
  const [ours, theirs] = libc.socketPair()
  const list = [`fsname=${escaped(options.fsname)}`, `subtype=${SUBTYPE}`, ...FIXED_OPTIONS, ...accessOptions(options)]
  const program = spawn('fusermount3', ['-o', list.join(','), '--', mountpoint], {
    env: { ...process.env, _FUSE_COMMFD: '3' },
    stdio: ['ignore', 'ignore', 'pipe', theirs],
  })
  closeSync(theirs)
  try {
    const [device] = await Promise.all([libc.receiveDescriptor(ours), succeed(program, mountpoint)])
    if (device === undefined) {
      throw new MountError(`${mountpoint}: expected the descriptor of the device from fusermount3, found none`)
    }
    return device
  } finally {
    closeSync(ours)
  }
}

/** allow_root is ours to see to: to the kernel there is only the owner, or everybody. */
function accessOptions({ allowOther, allowRoot, defaultPermissions }: MountOptions): string[] {
  return [...(allowOther || allowRoot ? ['allow_other'] : []), ...(defaultPermissions ? ['default_permissions'] : [])]
}

function escaped(value: string): string {
  return value.replace(/[\\,]/g, '\\$&')
}

async function succeed(program: ChildProcess, mountpoint: string): Promise<void> {
  const [[status], errors] = await Promise.all([once(program, 'close'), text(program.stderr as Readable)])
  if (status !== 0) {
    const hint = 'see that mounting is permitted here; in a container, it needs --cap-add SYS_ADMIN --device /dev/fuse'
    throw new MountError(`${mountpoint}: ${errors.trim().split('\n')[0] || `could not mount there (${status})`}`, hint)
  }
}
