import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { wholeFile } from '../../evidence/extents.ts'
import type { EvidenceFile } from '../../evidence/file.ts'
import { i32, Struct, u32, u64 } from '../../evidence/struct.ts'
import { traceOf } from '../../evidence/trace.ts'
import type { File } from '../../tree/node.ts'
import { type Libc, loadLibc } from './libc.ts'

const trace = traceOf('vmssfs:fuse')

/** FUSE_DEV_IOC_BACKING_OPEN and its `struct fuse_backing_map` (linux/fuse.h, 7.40). It answers with the backing id. */
const BACKING_OPEN = 0x4010e501
const BACKING_MAP = new Struct({ fd: i32, flags: u32, padding: u64 })

/** open_tree and mount_setattr: system calls that have the same number on every machine (asm-generic/unistd.h). */
const [OPEN_TREE, MOUNT_SETATTR] = [428, 442] as const

/** Of fcntl.h: relative paths are meant from the working folder; the descriptor itself is meant; close on exec. */
const [AT_FDCWD, AT_EMPTY_PATH, O_CLOEXEC] = [-100, 0x1000, 0o2000000] as const

/** Of linux/mount.h, with its `struct mount_attr`. To set an access time mode, all of its bits must be cleared. */
const OPEN_TREE_CLONE = 1
const [MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOATIME, MOUNT_ATTR_ATIME_MASK] = [0x01, 0x10, 0x70] as const
const MOUNT_ATTR = new Struct({ attr_set: u64, attr_clr: u64, propagation: u64, userns_fd: u64 })

/**
 * Registers the evidence behind those of the files that are one evidence file byte for byte, so that the kernel reads it by
 * itself. Returns inode numbers and backing ids; a file that is refused (the kernel wants CAP_SYS_ADMIN, and no stacked
 * filesystem below) is served as any other.
 */
export async function registerBackingFiles(
  device: number,
  files: readonly File[],
): Promise<ReadonlyMap<number, number>> {
  const backing = new Map<number, number>()
  const candidates = files.flatMap((file) => {
    const evidence = wholeFile(file.extents)
    return evidence === undefined ? [] : [[file.inode, evidence] as const]
  })
  if (candidates.length === 0) {
    return backing
  }
  try {
    const libc = await loadLibc()
    for (const [inode, evidence] of candidates) {
      backing.set(inode, register(libc, device, evidence))
    }
  } catch (error) {
    trace('no passthrough: %s', (error as Error).message)
  }
  return backing
}

function register(libc: Libc, device: number, evidence: EvidenceFile): number {
  const descriptor = openWithoutAccessTime(libc, evidence)
  try {
    return check(libc, 'BACKING_OPEN', libc.ioctl(device, BACKING_OPEN, backingMap(descriptor)))
  } finally {
    // The kernel keeps what is behind it.
    closeSync(descriptor)
  }
}

function backingMap(fd: number): Buffer {
  return BACKING_MAP.encode({ fd, flags: 0, padding: 0 })
}

/**
 * Opens the evidence once more, in such a way that reading it never changes its access time: reads that pass through us
 * without our doing ignore the O_NOATIME of the descriptor and go by the mount that the file was opened on. So it is opened on
 * a mount of the file alone, which is read-only, noatime, and in nobody's sight.
 */
function openWithoutAccessTime(libc: Libc, { handle }: EvidenceFile): number {
  const path = `/proc/self/fd/${handle.descriptor}`
  const tree = check(libc, 'open_tree', libc.syscall(OPEN_TREE, AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC, null, 0))
  try {
    const attributes = MOUNT_ATTR.encode({
      attr_set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME,
      attr_clr: MOUNT_ATTR_ATIME_MASK,
      propagation: 0,
      userns_fd: 0,
    })
    const set = libc.syscall(MOUNT_SETATTR, tree, '', AT_EMPTY_PATH, attributes, attributes.length)
    check(libc, 'mount_setattr', set)
    const descriptor = openSync(`/proc/self/fd/${tree}`, constants.O_RDONLY | constants.O_NONBLOCK)
    const { ino, dev } = fstatSync(descriptor, { bigint: true })
    if (ino !== handle.inode || dev !== handle.device) {
      closeSync(descriptor)
      throw new Error(`expected inode ${handle.inode}, found ${ino}`)
    }
    return descriptor
  } finally {
    closeSync(tree)
  }
}

function check(libc: Libc, what: string, result: number): number {
  if (result < 0) {
    throw new Error(`${what}: error number ${libc.errno()}`)
  }
  return result
}
