import { ATTRIBUTE_PREFIX, EACCES, ENODATA, ENOSYS, EROFS } from '../operations.ts'
import { FOPEN, GETXATTR_IN, OPCODES, OPEN_OUT } from './protocol.ts'
import { type Answer, DONE, type Request } from './requests.ts'

/** What one mount answers differently from another one. */
export interface Settings {
  /** The only user besides root who may ask; undefined where the kernel itself sees to who may. */
  readonly owner: number | undefined
  /** Files that the kernel reads by itself: inode number to backing id. */
  readonly backing: ReadonlyMap<number, number>
}

/** The two low bits of an OPEN's flags are 0 for reading alone (O_ACCMODE and O_RDONLY, asm-generic/fcntl.h). */
const ACCESS_MODE = 3

/** What is asked of something that is open already, by somebody who was let in before, or by the kernel for itself. */
const ASKED_BY_THOSE_INSIDE: ReadonlySet<number> = new Set([
  OPCODES.FORGET,
  OPCODES.BATCH_FORGET,
  OPCODES.INTERRUPT,
  OPCODES.DESTROY,
  OPCODES.READ,
  OPCODES.READDIR,
  OPCODES.READDIRPLUS,
  OPCODES.RELEASE,
  OPCODES.RELEASEDIR,
])

const PREFIX = Buffer.from(ATTRIBUTE_PREFIX)

const CHANGES: ReadonlySet<number> = new Set([
  OPCODES.SETATTR,
  OPCODES.SYMLINK,
  OPCODES.MKNOD,
  OPCODES.MKDIR,
  OPCODES.UNLINK,
  OPCODES.RMDIR,
  OPCODES.RENAME,
  OPCODES.LINK,
  OPCODES.WRITE,
  OPCODES.SETXATTR,
  OPCODES.REMOVEXATTR,
  OPCODES.CREATE,
  OPCODES.FALLOCATE,
  OPCODES.RENAME2,
  OPCODES.COPY_FILE_RANGE,
  OPCODES.TMPFILE,
])

/** Whether the kernel may open files and folders without asking. */
function opensUnasked(settings: Settings): boolean {
  return settings.owner === undefined && settings.backing.size === 0
}

/** Whether it is an OPEN that hands a file over to the kernel, which should be looked at once more before that. */
export function handsOver(settings: Settings, opcode: number, inode: number): boolean {
  return opcode === OPCODES.OPEN && settings.backing.has(inode)
}

/** Whether it is a GETXATTR for a name that no node has; ls(1) asks two of every file. */
export function asksInVain(opcode: number, body: Buffer): boolean {
  const [start, end] = [GETXATTR_IN.size, GETXATTR_IN.size + PREFIX.length]
  return opcode === OPCODES.GETXATTR && (body.length < end || body.compare(PREFIX, 0, PREFIX.length, start, end) !== 0)
}

/** Whether everybody who gets this far may ask, so that the kernel may answer the next one from what it holds. */
export function isOpenToAll(settings: Settings): boolean {
  return settings.owner === undefined
}

/** Refuses a request with EACCES unless it comes from somebody whom the mount is for. */
export function refusal(settings: Settings, { opcode, uid }: Request): number | undefined {
  const isFree =
    settings.owner === undefined || uid === settings.owner || uid === 0 || ASKED_BY_THOSE_INSIDE.has(opcode)
  return isFree ? undefined : EACCES
}

/**
 * The answer to what needs no look at the tree, so that any thread can give it. Every change is refused with EROFS.
 *
 * ENOSYS is the answer to everything else, be it unknown: after the first one the kernel does not ask again for FLUSH, FSYNC,
 * ACCESS (it checks modes by itself if it is to), STATX (we have no time of birth) and, where it offered that, OPEN and
 * OPENDIR, whereupon it keeps what it holds of the file.
 */
export function formality(settings: Settings, { opcode, inode, body }: Request): Answer {
  switch (opcode) {
    case OPCODES.FORGET:
    case OPCODES.BATCH_FORGET:
    case OPCODES.INTERRUPT:
      // Nodes stay as long as the mount does, and no request takes long.
      return undefined
    case OPCODES.OPEN:
      return opensUnasked(settings) ? ENOSYS : open(settings.backing.get(inode), body)
    case OPCODES.OPENDIR:
      return isOpenToAll(settings) ? ENOSYS : open(undefined, body)
    case OPCODES.GETXATTR:
      return ENODATA
    case OPCODES.RELEASE:
    case OPCODES.RELEASEDIR:
    case OPCODES.DESTROY:
      return DONE
    default:
      return CHANGES.has(opcode) ? EROFS : ENOSYS
  }
}

function open(backing: number | undefined, body: Buffer): Answer {
  // fuse_open_in begins with the flags of open(2).
  if ((body.readUInt32LE(0) & ACCESS_MODE) !== 0) {
    return EROFS
  }
  return backing === undefined
    ? OPEN_OUT.encode({ fh: 0, open_flags: FOPEN.KEEP_CACHE, backing_id: 0 })
    : OPEN_OUT.encode({ fh: 0, open_flags: FOPEN.PASSTHROUGH, backing_id: backing })
}
