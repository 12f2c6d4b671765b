/**
 * What the kernel asks, byte for byte as linux/fuse.h has it, and what it must be answered. Requests and replies are put
 * together here from numbers; the program's own tables are not used, so a wrong table shows.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { EvidenceError } from '../src/evidence/errors.ts'
import { compose, type Extents } from '../src/evidence/extents.ts'
import { answer } from '../src/fuse/kernel/answers.ts'
import type { Settings } from '../src/fuse/kernel/formalities.ts'
import { negotiate } from '../src/fuse/kernel/negotiation.ts'
import { replyTo } from '../src/fuse/kernel/requests.ts'
import { Operations } from '../src/fuse/operations.ts'
import { type Directory, File } from '../src/tree/node.ts'
import { pattern } from './support/mount.ts'

const YEAR = 31_536_000n
const [ENOENT, EIO, EACCES, ENOTDIR, EINVAL, ENXIO, EROFS, ERANGE, ENOSYS, ENODATA, EOPNOTSUPP, EISDIR] = [
  2, 5, 13, 20, 22, 6, 30, 34, 38, 61, 95, 21,
]
const UNIQUE = 0xfedc_ba98_7654_3210n
const MTIME = new Date('2021-02-03T04:05:06.789Z')
const [SECONDS, NANOSECONDS] = [1_612_325_106n, 789_000_000]

/** Five bytes, a hole of 100, five bytes, and ten that cannot be given. */
const holey = file(2, [
  { kind: 'bytes', bytes: Buffer.from('hello'), size: 5 },
  { kind: 'zero', size: 100 },
  { kind: 'bytes', bytes: Buffer.from('world'), size: 5 },
  { kind: 'refused', why: refusal('truncated'), size: 10 },
])
const inner = new File(4, MTIME, () => compose([{ kind: 'refused', why: refusal('unsupported'), size: 3 }]), {
  offset: 4096,
  size: 77,
  kind: 'compressed',
})
const folder: Directory = { kind: 'directory', inode: 3, mtime: MTIME, entries: new Map([['x y é', inner]]) }
const root: Directory = {
  kind: 'directory',
  inode: 1,
  mtime: MTIME,
  entries: new Map<string, Directory | File | { kind: 'link'; inode: number; mtime: Date; target: string }>([
    ['holey', holey],
    ['folder', folder],
    ['link', { kind: 'link', inode: 5, mtime: MTIME, target: 'folder/x' }],
  ]),
}
const operations = new Operations(root, { uid: 1000, gid: 100, umask: 0o022 })
const open: Settings = { owner: undefined, backing: new Map() }

/** `fuse_attr` of the nodes above. */
const ATTRIBUTES = {
  root: attributes({ ino: 1, size: 0, blocks: 0, mode: 0o040555, nlink: 3 }),
  holey: attributes({ ino: 2, size: 120, blocks: 1, mode: 0o100444, nlink: 1 }),
  folder: attributes({ ino: 3, size: 0, blocks: 0, mode: 0o040555, nlink: 2 }),
  inner: attributes({ ino: 4, size: 3, blocks: 0, mode: 0o100444, nlink: 1 }),
  link: attributes({ ino: 5, size: 8, blocks: 0, mode: 0o120777, nlink: 1 }),
}

describe('INIT', () => {
  // Everything that the headers know is offered: what is taken must be just what is wanted.
  const taken = 0b0100_0001_1100_0110_1010_0000_0000_0001

  test('is answered with what is wanted of what is offered', () => {
    const offer = Buffer.concat([u32(7), u32(45), u32(131_072), u32(0xffff_ffff), u32(0xffff_ffff), Buffer.alloc(44)])
    const expected = (flags2: number, depth: number) => [
      ...[u32(7), u32(40), u32(131_072), u32(taken), u16(64), u16(48), u32(4096), u32(1), u16(256), u16(0)],
      ...[u32(flags2), u32(depth), Buffer.alloc(24)],
    ]
    for (const [wish, flags2, depth] of [
      [true, 1 << 5, 1],
      [false, 0, 0],
    ] as const) {
      const result = negotiate(offer, wish)
      assert.ok('reply' in result)
      assert.deepEqual(hex(result.reply), hex(Buffer.concat(expected(flags2, depth))))
      assert.equal(result.reply.length, 64)
      assert.deepEqual([result.done, result.passthrough], [true, wish])
    }
  })

  test('of a kernel without more flags, and of 7.31', () => {
    const offer = Buffer.concat([u32(7), u32(31), u32(4096), u32(1)])
    const result = negotiate(offer, true)
    assert.ok('reply' in result)
    assert.deepEqual([result.reply.readUInt32LE(12), result.reply.readUInt32LE(32), result.passthrough], [1, 0, false])
    // INIT_EXT is offered, but what should follow is cut off.
    const cut = negotiate(Buffer.concat([u32(7), u32(36), u32(4096), u32(1 << 30)]), true)
    assert.ok('reply' in cut && !cut.passthrough)
  })

  test('of a newer major is asked again, of an older kernel refused, of nothing is a mistake', () => {
    const newer = negotiate(Buffer.concat([u32(8), u32(0), u32(0), u32(0)]), true)
    assert.ok('done' in newer && !newer.done)
    assert.equal(newer.reply.readUInt32LE(0), 7)
    assert.deepEqual(negotiate(Buffer.concat([u32(7), u32(30), u32(0), u32(0)]), true), { tooOld: '7.30' })
    assert.throws(() => negotiate(Buffer.alloc(15), true), RangeError)
  })
})

describe('a request', () => {
  const read = (inode: number, offset: bigint, size: number, opcode = 15) =>
    ask(opcode, inode, u64(0n), u64(offset), u32(size), u32(0), u64(0n), u32(0x8000), u32(0))
  const lookup = (inode: number, name: string | Buffer) => ask(1, inode, Buffer.from(name), Buffer.of(0))
  const seek = (offset: bigint, whence: number, inode = 2) => ask(46, inode, u64(0n), u64(offset), u32(whence), u32(0))
  const xattr = (inode: number, size: number, name: string) =>
    ask(22, inode, u32(size), u32(0), Buffer.from(`${name}\0`))
  const names = Buffer.from('user.vmss.offset\0user.vmss.size\0user.vmss.kind\0')

  const cases: Record<string, [request: Buffer, expected: Buffer | number | undefined]> = {
    'LOOKUP of a file': [lookup(1, 'holey'), Buffer.concat([entry(2), ATTRIBUTES.holey])],
    'LOOKUP of a folder': [lookup(1, 'folder'), Buffer.concat([entry(3), ATTRIBUTES.folder])],
    'LOOKUP of a link': [lookup(1, 'link'), Buffer.concat([entry(5), ATTRIBUTES.link])],
    'LOOKUP of another name': [lookup(3, 'x y é'), Buffer.concat([entry(4), ATTRIBUTES.inner])],
    'LOOKUP of what is not there': [lookup(1, 'nothing'), Buffer.concat([entry(0), Buffer.alloc(88)])],
    'LOOKUP of what is not UTF-8': [lookup(1, Buffer.of(0xff)), Buffer.concat([entry(0), Buffer.alloc(88)])],
    'LOOKUP without a NUL': [ask(1, 1, Buffer.from('holey')), Buffer.concat([entry(2), ATTRIBUTES.holey])],
    'LOOKUP in a file': [lookup(2, 'x'), ENOTDIR],
    'LOOKUP in no node': [lookup(99, 'x'), ENOENT],
    FORGET: [ask(2, 2, u64(1n)), undefined],
    BATCH_FORGET: [ask(42, 0, u32(1), u32(0), u64(2n), u64(1n)), undefined],
    INTERRUPT: [ask(36, 0, u64(8n)), undefined],
    GETATTR: [ask(3, 1, u32(0), u32(0), u64(0n)), Buffer.concat([u64(YEAR), u64(0n), ATTRIBUTES.root])],
    'GETATTR of no node': [ask(3, 77, u32(0), u32(0), u64(0n)), ENOENT],
    'STATX, for we know no time of birth': [ask(52, 1, Buffer.alloc(24)), ENOSYS],
    READLINK: [ask(5, 5), Buffer.from('folder/x')],
    'READLINK of a file': [ask(5, 2), EINVAL],
    'OPEN, so that the kernel stops asking': [ask(14, 2, u32(0), u32(0)), ENOSYS],
    OPENDIR: [ask(27, 1, u32(0), u32(0)), ENOSYS],
    READ: [read(2, 3n, 4), Buffer.from('lo\0\0')],
    'READ of a hole': [read(2, 5n, 100), Buffer.alloc(100)],
    'READ of nothing': [read(2, 0n, 0), Buffer.alloc(0)],
    'READ of bytes that cannot be given': [read(2, 105n, 6), EIO],
    'READ that is not supported': [read(4, 0n, 3), EOPNOTSUPP],
    'READ past the end': [read(2, 120n, 4096), Buffer.alloc(0)],
    'READ from the largest offset': [read(2, 0x7fff_ffff_ffff_ffffn, 4096), Buffer.alloc(0)],
    'READ of more than was agreed upon': [read(2, 0n, 1_048_577), EINVAL],
    'READ of a folder': [read(1, 0n, 10), EISDIR],
    READDIR: [
      read(1, 0n, 4096, 28),
      Buffer.concat([
        dirent(1, 1, 4, '.'),
        dirent(1, 2, 4, '..'),
        dirent(2, 3, 8, 'holey'),
        dirent(3, 4, 4, 'folder'),
        dirent(5, 5, 10, 'link'),
      ]),
    ],
    'READDIR with room for two': [read(3, 0n, 71, 28), Buffer.concat([dirent(3, 1, 4, '.'), dirent(1, 2, 4, '..')])],
    'READDIR goes on': [read(3, 2n, 4096, 28), dirent(4, 3, 8, 'x y é')],
    'READDIR at the end': [read(3, 3n, 4096, 28), Buffer.alloc(0)],
    'READDIR past the end': [read(3, 0xffff_ffff_ffff_ffffn, 4096, 28), Buffer.alloc(0)],
    'READDIR without room': [read(3, 0n, 31, 28), EINVAL],
    'READDIR of a file': [read(2, 0n, 4096, 28), ENOTDIR],
    READDIRPLUS: [
      read(3, 0n, 4096, 44),
      Buffer.concat([
        ...[entry(0), Buffer.alloc(88), dirent(3, 1, 4, '.')],
        ...[entry(0), Buffer.alloc(88), dirent(1, 2, 4, '..')],
        ...[entry(4), ATTRIBUTES.inner, dirent(4, 3, 8, 'x y é')],
      ]),
    ],
    STATFS: [
      ask(17, 1),
      Buffer.concat([
        ...[u64(0n), u64(0n), u64(0n), u64(5n), u64(0n)],
        ...[u32(4096), u32(255), u32(4096), u32(0), Buffer.alloc(24)],
      ]),
    ],
    ACCESS: [ask(34, 1, u32(4), u32(0)), ENOSYS],
    FLUSH: [ask(25, 2, Buffer.alloc(24)), ENOSYS],
    RELEASE: [ask(18, 2, Buffer.alloc(24)), Buffer.alloc(0)],
    RELEASEDIR: [ask(29, 1, Buffer.alloc(24)), Buffer.alloc(0)],
    DESTROY: [ask(38, 0), Buffer.alloc(0)],
    'SEEK_DATA in data': [seek(3n, 3), u64(3n)],
    'SEEK_DATA in a hole': [seek(5n, 3), u64(105n)],
    'SEEK_DATA at bytes that cannot be given': [seek(112n, 3), u64(112n)],
    'SEEK_HOLE in data': [seek(0n, 4), u64(5n)],
    'SEEK_HOLE in a hole': [seek(50n, 4), u64(50n)],
    'SEEK_HOLE where the end is the next one': [seek(105n, 4), u64(120n)],
    'SEEK_DATA at the end': [seek(120n, 3), ENXIO],
    'SEEK_HOLE far out': [seek(0x7fff_ffff_ffff_ffffn, 4), ENXIO],
    'LSEEK of another kind': [seek(0n, 2), EINVAL],
    'LSEEK of a folder': [seek(0n, 3, 1), EINVAL],
    GETXATTR: [xattr(4, 100, 'user.vmss.offset'), Buffer.from('4096')],
    'GETXATTR of just enough room': [xattr(4, 10, 'user.vmss.kind'), Buffer.from('compressed')],
    'GETXATTR of too little room': [xattr(4, 1, 'user.vmss.size'), ERANGE],
    'GETXATTR asking for the size': [xattr(4, 0, 'user.vmss.size'), Buffer.concat([u32(2), u32(0)])],
    'GETXATTR of another name': [xattr(4, 100, 'security.selinux'), ENODATA],
    'GETXATTR of what is no value': [xattr(2, 100, 'user.vmss.size'), ENODATA],
    LISTXATTR: [ask(23, 4, u32(100), u32(0)), names],
    'LISTXATTR asking for the size': [ask(23, 4, u32(0), u32(0)), Buffer.concat([u32(names.length), u32(0)])],
    'LISTXATTR of too little room': [ask(23, 4, u32(5), u32(0)), ERANGE],
    'LISTXATTR of nothing': [ask(23, 1, u32(100), u32(0)), Buffer.alloc(0)],
    'what nobody knows': [ask(4711, 1, Buffer.alloc(64)), ENOSYS],
    'opcode 0': [ask(0, 1), ENOSYS],
    ...Object.fromEntries(
      Object.entries({
        ...{ SETATTR: 4, SYMLINK: 6, MKNOD: 8, MKDIR: 9, UNLINK: 10, RMDIR: 11, RENAME: 12, LINK: 13, WRITE: 16 },
        ...{ SETXATTR: 21, REMOVEXATTR: 24, CREATE: 35, FALLOCATE: 43, RENAME2: 45, COPY_FILE_RANGE: 47, TMPFILE: 51 },
      }).map(([name, opcode]) => [name, [ask(opcode, 1, Buffer.alloc(100)), EROFS] as [Buffer, number]]),
    ),
  }
  for (const [name, [request, expected]] of Object.entries(cases)) {
    test(name, () => {
      assert.deepEqual(hex(replyOf(request)), hex(replyWith(expected)))
    })
  }
})

describe('a mount with a backing file', () => {
  const settings: Settings = { owner: undefined, backing: new Map([[2, 7]]) }

  test('opens that with passthrough, and every other one with what the kernel holds of it', () => {
    const cases = [
      [2, Buffer.concat([u64(0n), u32(0x80), u32(7)])],
      [4, Buffer.concat([u64(0n), u32(0x02), u32(0)])],
    ] as const
    for (const [inode, expected] of cases) {
      const asked = ask(14, inode, u32(0x8000), u32(0))
      assert.deepEqual(hex(replyOf(asked, settings)), hex(replyWith(expected)))
    }
    assert.deepEqual(hex(replyOf(ask(14, 2, u32(0x8002), u32(0)), settings)), hex(replyWith(EROFS)))
    assert.deepEqual(hex(replyOf(ask(27, 1, u32(0), u32(0)), settings)), hex(replyWith(ENOSYS)))
  })
})

describe('a mount for its owner and root alone', () => {
  const settings: Settings = { owner: 1000, backing: new Map() }
  const from = (uid: number, opcode: number, inode: number, ...body: Buffer[]) => {
    const request = ask(opcode, inode, ...body)
    request.writeUInt32LE(uid, 24)
    return request
  }

  test('lets nobody else in, and the kernel keep nothing that it could show to others', () => {
    for (const uid of [0, 1000]) {
      const found = replyOf(from(uid, 1, 1, Buffer.from('holey\0')), settings)
      assert.deepEqual(hex(found), hex(replyWith(Buffer.concat([entry(2, 0n), ATTRIBUTES.holey]))))
      assert.equal(replyOf(from(uid, 14, 2, u32(0), u32(0)), settings)?.readInt32LE(4), 0)
      assert.equal(replyOf(from(uid, 27, 1, u32(0), u32(0)), settings)?.readInt32LE(4), 0)
    }
    for (const opcode of [1, 3, 5, 14, 17, 22, 23, 27, 34, 46, 4, 9]) {
      assert.deepEqual(hex(replyOf(from(1001, opcode, 1, Buffer.alloc(64)), settings)), hex(replyWith(EACCES)))
    }
    // Whoever has a file open was let in, and the kernel reads ahead for itself.
    const opened = from(1001, 15, 2, u64(0n), u64(0n), u32(5), u32(0), u64(0n), u32(0), u32(0))
    assert.deepEqual(hex(replyOf(opened, settings)), hex(replyWith(Buffer.from('hello'))))
    assert.equal(replyOf(from(1001, 2, 1, u64(1n)), settings), undefined)
  })
})

describe('requests that make no sense', () => {
  test('that are shorter than a header are dropped: there is nobody to answer', () => {
    for (let size = 0; size < 40; size++) {
      assert.equal(replyOf(ask(15, 2).subarray(0, size)), undefined)
    }
  })

  test('that lack a part of their body are refused', () => {
    for (const [opcode, whole] of [
      [15, 40],
      [28, 40],
      [44, 40],
      [46, 24],
      [22, 8],
      [23, 8],
    ] as const) {
      for (const size of [0, 1, whole - 1]) {
        const inode = opcode === 28 || opcode === 44 ? 1 : 2
        assert.deepEqual(
          hex(replyOf(ask(opcode, inode, Buffer.alloc(size)))),
          hex(replyWith(EINVAL)),
          `${opcode}, ${size}`,
        )
      }
    }
    const settings: Settings = { owner: 1000, backing: new Map() }
    assert.deepEqual(hex(replyOf(ask(14, 2, Buffer.alloc(3)), settings)), hex(replyWith(EINVAL)))
  })

  test('that are longer than they should be are answered as if they were not', () => {
    const long = ask(3, 1, Buffer.alloc(60_000, 0xff))
    assert.deepEqual(hex(replyOf(long)), hex(replyWith(Buffer.concat([u64(YEAR), u64(0n), ATTRIBUTES.root]))))
    const name = Buffer.concat([Buffer.from('holey\0'), Buffer.alloc(60_000, 0xff)])
    assert.deepEqual(hex(replyOf(ask(1, 1, name))), hex(replyWith(Buffer.concat([entry(2), ATTRIBUTES.holey]))))
  })

  test('about a node beyond all numbers are refused', () => {
    for (const node of [0xffff_ffff_ffff_ffffn, 1n << 53n, 0n, 1n << 32n]) {
      const request = ask(3, 0, Buffer.alloc(16))
      request.writeBigUInt64LE(node, 16)
      assert.ok([-EINVAL, -ENOENT].includes(replyOf(request)?.readInt32LE(4) ?? 0), `${node}`)
    }
  })

  test('of random bytes are answered, each with a sound reply', () => {
    const bytes = pattern(99, 400_000)
    for (let at = 0; at + 200 < bytes.length; at += 173) {
      const request = Buffer.from(bytes.subarray(at, at + 40 + ((bytes[at] as number) % 100)))
      request.writeUInt32LE((bytes[at + 1] as number) % 60, 4)
      request.writeBigUInt64LE(BigInt((bytes[at + 2] as number) % 7), 16)
      const reply = replyOf(request)
      if (reply !== undefined) {
        assert.equal(reply.readUInt32LE(0), reply.length)
        assert.equal(reply.readBigUInt64LE(8), request.readBigUInt64LE(8))
        const error = reply.readInt32LE(4)
        assert.ok(error === 0 || (error < 0 && error > -512 && reply.length === 16), `error ${error}`)
      }
    }
  })
})

function file(inode: number, pieces: Parameters<typeof compose>[0]): File {
  return new File(inode, MTIME, (): Extents => compose(pieces))
}

function refusal(code: 'truncated' | 'unsupported'): EvidenceError {
  return new EvidenceError({ code, file: 'x.vmem', expected: 'bytes', found: 'none' })
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}

/** `fuse_in_header` and what follows it. */
function ask(opcode: number, inode: number, ...body: Buffer[]): Buffer {
  const rest = Buffer.concat(body)
  const [uid, gid, pid] = [1000, 1000, 4242]
  const header = [u32(40 + rest.length), u32(opcode), u64(UNIQUE), u64(BigInt(inode)), u32(uid), u32(gid), u32(pid)]
  return Buffer.concat([...header, u32(0), rest])
}

/** `fuse_out_header` and what follows it. */
function replyWith(content: Buffer | number | undefined): Buffer | undefined {
  if (content === undefined) {
    return undefined
  }
  if (typeof content === 'number') {
    return Buffer.concat([u32(16), u32(-content), u64(UNIQUE)])
  }
  return Buffer.concat([u32(16 + content.length), u32(0), u64(UNIQUE), content])
}

/** `fuse_entry_out` without its attributes. */
function entry(node: number, validity = YEAR): Buffer {
  return Buffer.concat([u64(BigInt(node)), u64(0n), u64(validity), u64(validity), u32(0), u32(0)])
}

/** `fuse_attr`. */
function attributes(node: { ino: number; size: number; blocks: number; mode: number; nlink: number }): Buffer {
  const [uid, gid, rdev, blksize, flags] = [1000, 100, 0, 131_072, 0]
  return Buffer.concat([
    ...[u64(BigInt(node.ino)), u64(BigInt(node.size)), u64(BigInt(node.blocks)), u64(SECONDS), u64(SECONDS)],
    ...[u64(SECONDS), u32(NANOSECONDS), u32(NANOSECONDS), u32(NANOSECONDS), u32(node.mode), u32(node.nlink)],
    ...[u32(uid), u32(gid), u32(rdev), u32(blksize), u32(flags)],
  ])
}

/** `fuse_dirent` with its name, padded to a multiple of 8. */
function dirent(inode: number, next: number, type: number, name: string): Buffer {
  const bytes = Buffer.from(name)
  const padding = Buffer.alloc((8 - (bytes.length % 8)) % 8)
  return Buffer.concat([u64(BigInt(inode)), u64(BigInt(next)), u32(bytes.length), u32(type), bytes, padding])
}

function replyOf(request: Buffer, settings = open): Buffer | undefined {
  return replyTo(request, (asked) => answer(operations, settings, asked))
}

function hex(bytes: Buffer | undefined): string | undefined {
  return bytes?.toString('hex').replace(/(.{16})/g, '$1 ')
}
