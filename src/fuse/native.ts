import { createRequire } from 'node:module'
import os from 'node:os'
import { dirname, join } from 'node:path'
import type { Handlers, Stat } from 'fuse-native'
import { MountError } from './errors.ts'
import type { MountOptions, Served } from './mount.ts'
import { SUBTYPE } from './mount-table.ts'
import { type Attributes, EINVAL, EIO, ENODATA, ENOENT, ENOTDIR, FOREVER, type Operations } from './operations.ts'

/** Keeps a library in the process though its handle is closed (dlfcn.h); Node has no name for it. */
const RTLD_NODELETE = 0x1000

/**
 * The transport over the package fuse-native, in which libfuse 2.9 asks by path: serves the operations at the mountpoint,
 * until it is unmounted. Resolves once the kernel has greeted us.
 *
 * @throws MountError
 */
export async function serveWithFuseNative(
  operations: Operations,
  mountpoint: string,
  options: MountOptions,
): Promise<Served> {
  const { default: Fuse } = await load()
  // `timeout: false`: a cold disk is not an error.
  const fuse = new Fuse(mountpoint, handlersOf(operations), { fsname: mountOptionList(options), timeout: false })
  await withoutDebugVariable(
    () =>
      new Promise<void>((resolve, reject) => {
        fuse.mount((error) => {
          if (error === null) {
            resolve()
          } else {
            const hint = 'see that /dev/fuse may be opened, and that mounting is permitted here'
            reject(new MountError(`${mountpoint}: libfuse could not mount there (${error.message})`, hint))
          }
        })
      }),
  )
  // libfuse 2.9 does not tell when the mount is gone.
  return { passthrough: false }
}

async function load(): Promise<typeof import('fuse-native')> {
  try {
    if (process.platform === 'linux') {
      loadLibfuse()
    }
    return await import('fuse-native')
  } catch (error) {
    const found = (error as Error).message.split('\n')[0]
    throw new MountError(`fuse-native: expected the package for ${process.platform}-${process.arch}, found ${found}`)
  }
}

/**
 * fuse-native's binary wants libfuse.so.2 of the system, which few systems still have, though the package brings that very
 * library. Once it is in the process under this name, the dynamic linker looks no further.
 */
function loadLibfuse(): void {
  // Of the two binaries in the package this is the one that is built for old systems too; node-gyp-build reads the variable.
  process.env['PREBUILDS_ONLY'] = '1'
  const folder = dirname(createRequire(import.meta.url).resolve('fuse-native'))
  const library = join(folder, 'prebuilds', `linux-${process.arch}`, 'libfuse.so')
  try {
    process.dlopen(
      { exports: {} },
      library,
      os.constants.dlopen.RTLD_NOW | os.constants.dlopen.RTLD_GLOBAL | RTLD_NODELETE,
    )
  } catch {
    // Node finds no addon in it and would unload it again, but for RTLD_NODELETE. If it could not be loaded, fuse-native says so.
  }
}

/** fuse-native takes any `*` in DEBUG for a wish to have libfuse trace itself; it looks while it mounts. */
async function withoutDebugVariable(mount: () => Promise<void>): Promise<void> {
  const debug = process.env['DEBUG']
  delete process.env['DEBUG']
  try {
    await mount()
  } finally {
    if (debug !== undefined) {
      process.env['DEBUG'] = debug
    }
  }
}

/**
 * Everything as the value of fsname, which fuse-native joins unquoted into libfuse's option list: it has no other way to
 * mount read-only, or to keep our inode numbers (use_ino).
 */
function mountOptionList(options: MountOptions): string {
  const list = [options.fsname, `subtype=${SUBTYPE}`, 'ro', 'nosuid', 'nodev', 'noexec', 'use_ino', 'kernel_cache']
  list.push(`entry_timeout=${FOREVER}`, `attr_timeout=${FOREVER}`, `negative_timeout=${FOREVER}`)
  if (options.allowOther) {
    list.push('allow_other')
  }
  if (options.allowRoot) {
    list.push('allow_root')
  }
  if (options.defaultPermissions) {
    list.push('default_permissions')
  }
  return list.join(',')
}

function handlersOf(operations: Operations): Handlers {
  return {
    getattr(path, reply) {
      guard(reply, () => {
        const node = operations.resolve(path)
        return node === undefined ? reply(-ENOENT) : reply(0, statOf(operations.attributes(node)))
      })
    },
    readdir(path, reply) {
      guard(reply, () => {
        const directory = operations.resolve(path)
        if (directory?.kind !== 'directory') {
          return reply(directory === undefined ? -ENOENT : -ENOTDIR)
        }
        const entries = operations.list(directory)
        const names = entries.map(([name]) => name)
        return reply(
          0,
          names,
          entries.map(([, node]) => ({ ino: node.inode, mode: operations.mode(node) })),
        )
      })
    },
    readlink(path, reply) {
      guard(reply, () => {
        const link = operations.resolve(path)
        return link?.kind === 'link' ? reply(0, link.target) : reply(-EINVAL)
      })
    },
    getxattr(path, name, _position, reply) {
      guard(reply, () => {
        const node = operations.resolve(path)
        const value = node === undefined ? undefined : operations.extendedAttributes(node).get(name)
        return value === undefined ? reply(node === undefined ? -ENOENT : -ENODATA) : reply(0, Buffer.from(value))
      })
    },
    listxattr(path, reply) {
      guard(reply, () => {
        const node = operations.resolve(path)
        return node === undefined ? reply(-ENOENT) : reply(0, [...operations.extendedAttributes(node).keys()])
      })
    },
    open(path, _flags, reply) {
      guard(reply, () => {
        const node = operations.resolve(path)
        // The inode number is the handle: there is nothing to remember of an open file.
        return node === undefined ? reply(-ENOENT) : reply(0, node.inode)
      })
    },
    read(_path, handle, target, size, offset, reply) {
      guard(reply, () => {
        reply(operations.read(handle, target.subarray(0, size), offset))
      })
    },
  }
}

/** A bug in answering one request is said, and answered with EIO: it must not take the mount down. */
function guard(reply: (error: number) => void, work: () => void): void {
  try {
    work()
  } catch (error) {
    process.stderr.write(`vmssfs: a bug: ${error instanceof Error ? error.stack : error}\n`)
    reply(-EIO)
  }
}

function statOf(attributes: Attributes): Stat {
  const { inode, mode, linkCount, uid, gid, size, blocks, blockSize, mtime } = attributes
  return {
    ino: inode,
    mode,
    nlink: linkCount,
    uid,
    gid,
    size,
    blocks,
    blksize: blockSize,
    mtime,
    atime: mtime,
    ctime: mtime,
  }
}
