import { NAME_MAX } from '../../tree/names.ts'
import type { Node } from '../../tree/node.ts'
import { EINVAL, ENODATA, ENOENT, ENOTDIR, ENXIO, ERANGE, FOREVER, type Operations } from '../operations.ts'
import { formality, handsOver, isOpenToAll, refusal, type Settings } from './formalities.ts'
import {
  ATTR,
  ATTR_OUT,
  DIRENT,
  DIRENT_ALIGNMENT,
  ENTRY_OUT,
  GETXATTR_IN,
  GETXATTR_OUT,
  LSEEK_IN,
  LSEEK_OUT,
  MAX_READ_SIZE,
  OPCODES,
  READ_IN,
  STATFS_OUT,
} from './protocol.ts'
import type { Answer, Request } from './requests.ts'

/** A name of another encoding becomes this when it is decoded. */
const REPLACEMENT = '\ufffd'

type TreeOperation = (operations: Operations, node: Node, request: Request, validity: number) => Answer

/** What has to be answered from the tree. */
const TREE_OPERATIONS: ReadonlyMap<number, TreeOperation> = new Map<number, TreeOperation>([
  [OPCODES.LOOKUP, lookUp],
  [OPCODES.GETATTR, getAttributes],
  [OPCODES.READLINK, readLink],
  [OPCODES.READ, read],
  [OPCODES.STATFS, statFilesystem],
  [OPCODES.GETXATTR, getExtendedAttribute],
  [OPCODES.LISTXATTR, listExtendedAttributes],
  [OPCODES.READDIR, list],
  [OPCODES.READDIRPLUS, listWithAttributes],
  [OPCODES.LSEEK, seek],
])

/** Whether only the thread with the tree can answer. */
export function needsTree(opcode: number): boolean {
  return TREE_OPERATIONS.has(opcode)
}

/** The answer to any request but INIT. */
export function answer(operations: Operations, settings: Settings, request: Request): Answer {
  const operation = TREE_OPERATIONS.get(request.opcode)
  const refused = refusal(settings, request)
  if (operation === undefined || refused !== undefined) {
    return refused ?? refusalToHandOver(operations, settings, request) ?? formality(settings, request)
  }
  const node = operations.node(request.inode)
  return node === undefined ? ENOENT : operation(operations, node, request, isOpenToAll(settings) ? FOREVER : 0)
}

/** What the kernel reads by itself, it must not begin to read if the evidence has changed: that much of the alarm we keep. */
function refusalToHandOver(operations: Operations, settings: Settings, { opcode, inode }: Request): number | undefined {
  const count = handsOver(settings, opcode, inode) ? operations.read(inode, Buffer.alloc(1), 0) : 0
  return count < 0 ? -count : undefined
}

/** LOOKUP. That there is no such name may be kept as well. */
function lookUp(operations: Operations, node: Node, { body }: Request, validity: number): Answer {
  if (node.kind !== 'directory') {
    return ENOTDIR
  }
  const bytes = Buffer.alloc(ENTRY_OUT.size + ATTR.size)
  putEntry(bytes, 0, node.entries.get(textOf(body)), operations, validity)
  return bytes
}

function getAttributes(operations: Operations, node: Node, _request: Request, validity: number): Answer {
  const bytes = Buffer.alloc(ATTR_OUT.size + ATTR.size)
  ATTR_OUT.encodeInto(bytes, 0, { attr_valid: validity, attr_valid_nsec: 0, dummy: 0 })
  putAttributes(bytes, ATTR_OUT.size, node, operations)
  return bytes
}

/** READLINK: the target, without a NUL. */
function readLink(_operations: Operations, node: Node): Answer {
  return node.kind === 'link' ? Buffer.from(node.target) : EINVAL
}

/** READ: all of the bytes that are asked for, up to the end of the file. */
function read(operations: Operations, _node: Node, { inode, body }: Request): Answer {
  const { offset, size } = READ_IN.decodeBytes(body)
  if (size > MAX_READ_SIZE) {
    return EINVAL
  }
  const bytes = Buffer.allocUnsafe(size)
  const count = operations.read(inode, bytes, Number(offset))
  return count < 0 ? -count : bytes.subarray(0, count)
}

/** STATFS: nothing is free, and nothing says how large a guest is. */
function statFilesystem(operations: Operations): Answer {
  const [none, blockSize] = [0, 4096]
  return STATFS_OUT.encode({
    blocks: none,
    bfree: none,
    bavail: none,
    files: operations.count,
    ffree: none,
    bsize: blockSize,
    namelen: NAME_MAX,
    frsize: blockSize,
    padding: 0,
    spare0: 0,
    spare1: 0,
    spare2: 0,
  })
}

/** LSEEK with SEEK_DATA or SEEK_HOLE. */
function seek(operations: Operations, _node: Node, { inode, body }: Request): Answer {
  const { offset, whence } = LSEEK_IN.decodeBytes(body)
  if (offset > Number.MAX_SAFE_INTEGER) {
    return ENXIO
  }
  const found = operations.seek(inode, Number(offset), whence)
  return found < 0 ? -found : LSEEK_OUT.encode({ offset: found })
}

function getExtendedAttribute(operations: Operations, node: Node, { body }: Request): Answer {
  const { size } = GETXATTR_IN.decodeBytes(body)
  const value = operations.extendedAttributes(node).get(textOf(body.subarray(GETXATTR_IN.size)))
  return value === undefined ? ENODATA : sizedAnswer(Buffer.from(value), size)
}

/** LISTXATTR: the names, each with its NUL. */
function listExtendedAttributes(operations: Operations, node: Node, { body }: Request): Answer {
  const { size } = GETXATTR_IN.decodeBytes(body)
  const names = [...operations.extendedAttributes(node).keys()].map((name) => `${name}\0`)
  return sizedAnswer(Buffer.from(names.join('')), size)
}

/** Who asks with a size of 0 wants to know how much room it takes. */
function sizedAnswer(value: Buffer, size: number): Answer {
  if (size === 0) {
    return GETXATTR_OUT.encode({ size: value.length, padding: 0 })
  }
  return value.length > size ? ERANGE : value
}

function list(operations: Operations, node: Node, { body }: Request): Answer {
  return listing(operations, node, body, 0, () => undefined)
}

/** READDIRPLUS: before each entry what LOOKUP would answer; the kernel wants no nodes for `.` and `..`. */
function listWithAttributes(operations: Operations, node: Node, { body }: Request, validity: number): Answer {
  return listing(operations, node, body, ENTRY_OUT.size + ATTR.size, (bytes, at, name, entry) => {
    putEntry(bytes, at, name === '.' || name === '..' ? undefined : entry, operations, validity)
  })
}

/** As many entries as there is room for, from the one with the number that the kernel was told last; none at the end. */
function listing(
  operations: Operations,
  node: Node,
  body: Buffer,
  prefix: number,
  putPrefix: (bytes: Buffer, at: number, name: string, entry: Node) => void,
): Answer {
  if (node.kind !== 'directory') {
    return ENOTDIR
  }
  const { offset, size } = READ_IN.decodeBytes(body)
  const entries = operations.list(node)
  const bytes = Buffer.alloc(Math.min(size, MAX_READ_SIZE))
  let end = 0
  for (let index = Number(offset); index < entries.length; index++) {
    const [name, entry] = entries[index] as [string, Node]
    const nameBytes = Buffer.from(name)
    const nameAt = end + prefix + DIRENT.size
    const next = Math.ceil((nameAt + nameBytes.length) / DIRENT_ALIGNMENT) * DIRENT_ALIGNMENT
    if (next > bytes.length) {
      // Nothing at all would say that the folder ends here.
      return end === 0 ? EINVAL : bytes.subarray(0, end)
    }
    putPrefix(bytes, end, name, entry)
    const type = operations.mode(entry) >>> 12
    DIRENT.encodeInto(bytes, end + prefix, { ino: entry.inode, off: index + 1, namelen: nameBytes.length, type })
    bytes.set(nameBytes, nameAt)
    end = next
  }
  return bytes.subarray(0, end)
}

/** A `fuse_entry_out` with its attributes; without a node, only that there is none. */
function putEntry(bytes: Buffer, at: number, node: Node | undefined, operations: Operations, validity: number): void {
  ENTRY_OUT.encodeInto(bytes, at, {
    nodeid: node?.inode ?? 0,
    generation: 0,
    entry_valid: validity,
    attr_valid: validity,
    entry_valid_nsec: 0,
    attr_valid_nsec: 0,
  })
  if (node !== undefined) {
    putAttributes(bytes, at + ENTRY_OUT.size, node, operations)
  }
}

function putAttributes(bytes: Buffer, at: number, node: Node, operations: Operations): void {
  const { inode, mode, linkCount, uid, gid, size, blocks, blockSize, mtime } = operations.attributes(node)
  const seconds = Math.floor(mtime.getTime() / 1000)
  const nanoseconds = Math.round((mtime.getTime() - seconds * 1000) * 1e6)
  // A time before 1970 is negative, in two's complement.
  const time = BigInt.asUintN(64, BigInt(seconds))
  ATTR.encodeInto(bytes, at, {
    ino: inode,
    size,
    blocks,
    atime: time,
    mtime: time,
    ctime: time,
    atimensec: nanoseconds,
    mtimensec: nanoseconds,
    ctimensec: nanoseconds,
    mode,
    nlink: linkCount,
    uid,
    gid,
    rdev: 0,
    blksize: blockSize,
    flags: 0,
  })
}

/** A name up to its NUL; the empty one, which nothing has, if it is not UTF-8, as every name of ours is. */
function textOf(bytes: Buffer): string {
  const nul = bytes.indexOf(0)
  const name = nul === -1 ? bytes : bytes.subarray(0, nul)
  const text = name.toString()
  return text.includes(REPLACEMENT) && !Buffer.from(text).equals(name) ? '' : text
}
