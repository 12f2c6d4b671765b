import { constants } from 'node:os'
import { EvidenceError } from '../evidence/errors.ts'
import { nextData, nextHole, read, sizeOf, storedSizeOf } from '../evidence/extents.ts'
import { traceOf } from '../evidence/trace.ts'
import { type Directory, type File, lookup, type Node } from '../tree/node.ts'

const trace = traceOf('vmssfs:fuse')

/** The error numbers that the mount answers with; the only place that turns an error into one. */
export const { EACCES, EINVAL, EIO, EISDIR, ENODATA, ENOENT, ENOSYS, ENOTDIR, ENXIO, EOPNOTSUPP } = constants.errno
export const { EPROTO, ERANGE, EROFS } = constants.errno

/** Evidence does not change, so the kernel may keep what it was told for as long as the mount lasts. In seconds: a year. */
export const FOREVER = 31_536_000

/** Types of inodes in `st_mode` (linux/stat.h). */
const { S_IFDIR, S_IFLNK, S_IFREG } = { S_IFDIR: 0o040000, S_IFLNK: 0o120000, S_IFREG: 0o100000 }

/** What `st_blocks` counts in (stat(2)), and the size that the mount advises to read in. */
const BLOCK_SIZE = 512
const ADVISED_READ_SIZE = 131_072

/** What `lseek` looks for (linux/fs.h); the kernel finds every other place by itself. */
export const { SEEK_DATA, SEEK_HOLE } = { SEEK_DATA: 3, SEEK_HOLE: 4 }

/** What the names of all extended attributes begin with. */
export const ATTRIBUTE_PREFIX = 'user.vmss.'

/** Whose the files are, and which of their permissions are taken away. */
export interface Ownership {
  readonly uid: number
  readonly gid: number
  /** Bits that are cleared in the modes 0444 and 0555. */
  readonly umask: number
}

/** What stat(2) says of a node. */
export interface Attributes {
  readonly inode: number
  readonly mode: number
  readonly linkCount: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  /** Of 512 bytes: those that exist, so that a hole takes no space. */
  readonly blocks: number
  readonly blockSize: number
  readonly mtime: Date
}

/** The entries of a folder in their order. */
export type Listing = readonly (readonly [string, Node])[]

/**
 * A tree, answered to the kernel: what every transport asks. Operations that can fail return a negative error number, as the
 * FUSE protocol does.
 */
export class Operations {
  readonly #root: Directory
  readonly #ownership: Ownership
  readonly #nodes: Node[] = []
  #count = 0
  readonly #parents = new Map<Directory, Directory>()
  readonly #listings = new WeakMap<Directory, Listing>()

  constructor(root: Directory, ownership: Ownership) {
    this.#root = root
    this.#ownership = ownership
    this.#add(root)
  }

  /** How many nodes there are. */
  get count(): number {
    return this.#count
  }

  /** The files in the root. */
  get rootFiles(): File[] {
    return [...this.#root.entries.values()].filter((node) => node.kind === 'file')
  }

  node(inode: number): Node | undefined {
    return this.#nodes[inode]
  }

  /** Takes in a node and all below it. */
  #add(node: Node): void {
    this.#nodes[node.inode] = node
    this.#count++
    if (node.kind === 'directory') {
      for (const entry of node.entries.values()) {
        if (entry.kind === 'directory') {
          this.#parents.set(entry, node)
        }
        this.#add(entry)
      }
    }
  }

  /** What a folder holds, itself as `.` and its parent as `..` first; the root is its own parent. Always the same list. */
  list(directory: Directory): Listing {
    let listing = this.#listings.get(directory)
    if (listing === undefined) {
      listing = [['.', directory], ['..', this.#parents.get(directory) ?? directory], ...directory.entries]
      this.#listings.set(directory, listing)
    }
    return listing
  }

  /** The node at an absolute path in the mount. */
  resolve(path: string): Node | undefined {
    return lookup(this.#root, path)
  }

  attributes(node: Node): Attributes {
    const { uid, gid } = this.#ownership
    const common = {
      inode: node.inode,
      mode: this.mode(node),
      uid,
      gid,
      blockSize: ADVISED_READ_SIZE,
      mtime: node.mtime,
    }
    switch (node.kind) {
      case 'directory': {
        const folders = [...node.entries.values()].filter((entry) => entry.kind === 'directory')
        return { ...common, linkCount: 2 + folders.length, size: 0, blocks: 0 }
      }
      case 'file': {
        const { extents } = node
        const blocks = Math.ceil(storedSizeOf(extents) / BLOCK_SIZE)
        return { ...common, linkCount: 1, size: sizeOf(extents), blocks }
      }
      case 'link':
        return { ...common, linkCount: 1, size: Buffer.byteLength(node.target), blocks: 0 }
    }
  }

  /** `st_mode`: the part of a node's attributes that a listing needs, which does not ask for its contents. */
  mode(node: Node): number {
    const { umask } = this.#ownership
    switch (node.kind) {
      case 'directory':
        return S_IFDIR | (0o555 & ~umask)
      case 'file':
        return S_IFREG | (0o444 & ~umask)
      case 'link':
        return S_IFLNK | 0o777
    }
  }

  /** Reads into `target` from `offset` on and returns the number of bytes: less than `target` holds only at the end of the file. */
  read(inode: number, target: Uint8Array, offset: number): number {
    const node = this.#nodes[inode]
    if (node?.kind !== 'file') {
      return node === undefined ? -ENOENT : -EISDIR
    }
    try {
      return read(node.extents, target, offset)
    } catch (error) {
      return -errnoOf(error, inode, offset)
    }
  }

  /** The next data or hole of a file, from `offset` on. */
  seek(inode: number, offset: number, whence: number): number {
    const node = this.#nodes[inode]
    if (node?.kind !== 'file' || (whence !== SEEK_DATA && whence !== SEEK_HOLE)) {
      return node === undefined ? -ENOENT : -EINVAL
    }
    const { extents } = node
    if (offset >= sizeOf(extents)) {
      return -ENXIO
    }
    return whence === SEEK_HOLE ? nextHole(extents, offset) : (nextData(extents, offset) ?? -ENXIO)
  }

  /** The extended attributes of a node: where its value lies in the evidence, in decimal. */
  extendedAttributes(node: Node): ReadonlyMap<string, string> {
    const origin = node.kind === 'file' ? node.origin : undefined
    if (origin === undefined) {
      return NO_ATTRIBUTES
    }
    return new Map([
      [`${ATTRIBUTE_PREFIX}offset`, `${origin.offset}`],
      [`${ATTRIBUTE_PREFIX}size`, `${origin.size}`],
      [`${ATTRIBUTE_PREFIX}kind`, origin.kind],
    ])
  }
}

const NO_ATTRIBUTES: ReadonlyMap<string, string> = new Map()

/**
 * The error number of a read that was refused.
 *
 * @throws what is no refusal, but a bug.
 */
export function errnoOf(error: unknown, inode: number, offset: number): number {
  if (!(error instanceof EvidenceError)) {
    throw error
  }
  trace('read of inode %d at %d: %s', inode, offset, error.message)
  return error.code === 'unsupported' ? EOPNOTSUPP : EIO
}
