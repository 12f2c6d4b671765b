import { i32, Struct, u16, u32, u64, u64big } from '../../evidence/struct.ts'

/**
 * The kernel's FUSE protocol, as tables: each record is the `struct fuse_…` of that name in linux/fuse.h, with the protocol
 * minor that brought it or changed it since 7.9. Numbers are in the byte order of the machine, which must be little-endian.
 */

/** The version that we speak: 7.40 came with Linux 6.9 and brought passthrough. */
export const MAJOR = 7
export const MINOR = 40

/** The oldest minor that we answer, of Linux 5.2. Older kernels ask for nothing that we lack, but nobody has tried them. */
export const OLDEST_MINOR = 31

/** What the kernel asks for: `enum fuse_opcode`. */
export const OPCODES = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  /** 7.16 */
  BATCH_FORGET: 42,
  /** 7.19 */
  FALLOCATE: 43,
  /** 7.21 */
  READDIRPLUS: 44,
  /** 7.23 */
  RENAME2: 45,
  /** 7.24 */
  LSEEK: 46,
  /** 7.28 */
  COPY_FILE_RANGE: 47,
  /** 7.37 */
  TMPFILE: 51,
} as const

/** `fuse_in_header`, before every request. `len` counts all of it; `total_extlen` came with 7.38, as padding before. */
export const IN_HEADER = new Struct({
  len: u32,
  opcode: u32,
  unique: u64big,
  nodeid: u64,
  uid: u32,
  gid: u32,
  pid: u32,
  total_extlen: u16,
  padding: u16,
})

/** `fuse_out_header`, before every reply. `error` is 0 or a negative error number, and nothing follows then. */
export const OUT_HEADER = new Struct({ len: u32, error: i32, unique: u64big })

/** `fuse_init_in`, as far as every kernel sends it. */
export const INIT_IN = new Struct({ major: u32, minor: u32, max_readahead: u32, flags: u32 })

/** What follows it from 7.36 on, where the kernel offers {@link INIT_FLAGS} INIT_EXT. */
export const INIT_IN_EXT = new Struct({ flags2: u32 })

/** `fuse_init_out`; `max_pages` came with 7.28, `flags2` with 7.36, `max_stack_depth` with 7.40. The rest is unused. */
export const INIT_OUT = new Struct({
  major: u32,
  minor: u32,
  max_readahead: u32,
  flags: u32,
  max_background: u16,
  congestion_threshold: u16,
  max_write: u32,
  time_gran: u32,
  max_pages: u16,
  map_alignment: u16,
  flags2: u32,
  max_stack_depth: u32,
  unused0: u64,
  unused1: u64,
  unused2: u64,
})

/** `FUSE_…` flags of INIT that we ask for where the kernel offers them. */
export const INIT_FLAGS = {
  /** Several reads of one file are in flight at once. */
  ASYNC_READ: 1 << 0,
  /** 7.21: a listing brings the attributes along. READDIRPLUS_AUTO (bit 14) would do so for its beginning alone. */
  DO_READDIRPLUS: 1 << 13,
  /** 7.22: the parts of a large O_DIRECT read are in flight at once. */
  ASYNC_DIO: 1 << 15,
  /** 7.23: OPEN may be answered with ENOSYS once, and is not asked any more. */
  NO_OPEN_SUPPORT: 1 << 17,
  /** 7.25: lookups and listings of one folder are in flight at once. */
  PARALLEL_DIROPS: 1 << 18,
  /** 7.28: requests of more than 32 pages. */
  MAX_PAGES: 1 << 22,
  /** 7.28: the kernel keeps where links lead. */
  CACHE_SYMLINKS: 1 << 23,
  /** 7.29: the same as NO_OPEN_SUPPORT, for folders. */
  NO_OPENDIR_SUPPORT: 1 << 24,
  /** 7.36: there are more flags in `flags2`. */
  INIT_EXT: 1 << 30,
} as const

/** Those of `flags2`. */
export const INIT_FLAGS2 = {
  /** 7.40: the kernel may read a backing file by itself. */
  PASSTHROUGH: 1 << 5,
} as const

/** `fuse_attr`; `flags` was padding before 7.32. */
export const ATTR = new Struct({
  ino: u64,
  size: u64,
  blocks: u64,
  atime: u64big,
  mtime: u64big,
  ctime: u64big,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  mode: u32,
  nlink: u32,
  uid: u32,
  gid: u32,
  rdev: u32,
  blksize: u32,
  flags: u32,
})

/** `fuse_entry_out`, before its {@link ATTR}. A `nodeid` of 0 says that there is no such name, for as long as it is valid. */
export const ENTRY_OUT = new Struct({
  nodeid: u64,
  generation: u64,
  entry_valid: u64,
  attr_valid: u64,
  entry_valid_nsec: u32,
  attr_valid_nsec: u32,
})

/** `fuse_attr_out`, before its {@link ATTR}. */
export const ATTR_OUT = new Struct({ attr_valid: u64, attr_valid_nsec: u32, dummy: u32 })

/** `fuse_open_out`; `backing_id` was padding before 7.40. */
export const OPEN_OUT = new Struct({ fh: u64, open_flags: u32, backing_id: i32 })

/** `FOPEN_…` flags of OPEN_OUT. */
export const FOPEN = {
  /** Opening does not drop what the kernel holds of the file. */
  KEEP_CACHE: 1 << 1,
  /** 7.40: reads go to the backing file. No other flag of these may stand beside it. */
  PASSTHROUGH: 1 << 7,
} as const

/** `fuse_read_in`, of READ, READDIR and READDIRPLUS. */
export const READ_IN = new Struct({
  fh: u64big,
  offset: u64big,
  size: u32,
  read_flags: u32,
  lock_owner: u64big,
  flags: u32,
  padding: u32,
})

/** `fuse_dirent`, before its name; records begin at multiples of 8. `off` is where the listing goes on behind it. */
export const DIRENT = new Struct({ ino: u64, off: u64, namelen: u32, type: u32 })
export const DIRENT_ALIGNMENT = 8

/** `fuse_kstatfs`. */
export const STATFS_OUT = new Struct({
  blocks: u64,
  bfree: u64,
  bavail: u64,
  files: u64,
  ffree: u64,
  bsize: u32,
  namelen: u32,
  frsize: u32,
  padding: u32,
  spare0: u64,
  spare1: u64,
  spare2: u64,
})

/** `fuse_lseek_in` and `fuse_lseek_out`, 7.24. `offset` is an int64_t in truth, and may be anything. */
export const LSEEK_IN = new Struct({ fh: u64big, offset: u64big, whence: u32, padding: u32 })
export const LSEEK_OUT = new Struct({ offset: u64 })

/** `fuse_getxattr_in`, before the name of GETXATTR; a `size` of 0 asks for the size alone, in a `fuse_getxattr_out`. */
export const GETXATTR_IN = new Struct({ size: u32, padding: u32 })
export const GETXATTR_OUT = new Struct({ size: u32, padding: u32 })

/** The largest READ: 256 pages, the most that the kernel grants unless its sysctl fs.fuse.max_pages_limit is raised. */
export const MAX_PAGES = 256
export const MAX_READ_SIZE = 1_048_576

/** The kernel refuses to hand out requests into a smaller buffer than 8 KiB; the longest one to a read-only mount is shorter. */
export const REQUEST_BUFFER_SIZE = 65_536
