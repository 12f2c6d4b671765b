import {
  INIT_FLAGS,
  INIT_FLAGS2,
  INIT_IN,
  INIT_IN_EXT,
  INIT_OUT,
  MAJOR,
  MAX_PAGES,
  MINOR,
  OLDEST_MINOR,
} from './protocol.ts'

/** Requests of the kernel's own accord (read-ahead) that may wait at once, and from how many on it holds back. */
const MAX_BACKGROUND = 64
const CONGESTION_THRESHOLD = 48

/** The kernel takes no less than a page, and never writes. */
const MAX_WRITE = 4096

/** How deep filesystems below a backing file may be stacked: passthrough is not offered at 0. */
const MAX_STACK_DEPTH = 1

/** What came of INIT. */
export interface Negotiation {
  /** The reply's body. */
  readonly reply: Buffer
  /** False where the kernel speaks a newer major version: it asks again, in ours. */
  readonly done: boolean
  /** Whether files may be opened with a backing file. */
  readonly passthrough: boolean
}

/**
 * Answers INIT: everything in {@link INIT_FLAGS} that the kernel offers is taken. AUTO_INVAL_DATA is not: evidence does not
 * change, so nothing that the kernel holds becomes invalid.
 *
 * @throws RangeError for a request that is too short.
 * @returns the minor version of a kernel that is too old to be served.
 */
export function negotiate(body: Buffer, wantsPassthrough: boolean): Negotiation | { readonly tooOld: string } {
  const { major, minor, max_readahead, flags: offered } = INIT_IN.decodeBytes(body)
  if (major < MAJOR || (major === MAJOR && minor < OLDEST_MINOR)) {
    return { tooOld: `${major}.${minor}` }
  }
  const flags = Object.values(INIT_FLAGS).reduce((taken, flag) => taken | (offered & flag), 0)
  const hasMoreFlags = (flags & INIT_FLAGS.INIT_EXT) !== 0 && body.length >= INIT_IN.size + INIT_IN_EXT.size
  const offered2 = hasMoreFlags ? INIT_IN_EXT.decodeBytes(body, INIT_IN.size).flags2 : 0
  const flags2 = wantsPassthrough ? offered2 & INIT_FLAGS2.PASSTHROUGH : 0
  const reply = INIT_OUT.encode({
    major: MAJOR,
    minor: MINOR,
    max_readahead,
    flags: flags >>> 0,
    max_background: MAX_BACKGROUND,
    congestion_threshold: CONGESTION_THRESHOLD,
    max_write: MAX_WRITE,
    time_gran: 1,
    max_pages: MAX_PAGES,
    map_alignment: 0,
    flags2: flags2 >>> 0,
    max_stack_depth: flags2 === 0 ? 0 : MAX_STACK_DEPTH,
    unused0: 0,
    unused1: 0,
    unused2: 0,
  })
  return { reply, done: major === MAJOR, passthrough: flags2 !== 0 }
}
