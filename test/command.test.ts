/**
 * What the command refuses, and how: the exit code, one line that says what, where, expected and found, at most a second
 * one with what to do, and nothing left behind. Nothing is imported from the program.
 */
import assert from 'node:assert/strict'
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { type CheckpointSpec, text, u32, u64, writeCheckpoint } from './support/checkpoint.ts'
import {
  cliPath,
  daemonsOf,
  type Finished,
  mounted,
  mountSkip,
  mountsAt,
  ORDINARY_ID,
  ordinaryDeviceSkip,
  ordinaryUserSkip,
  outputOf,
  pattern,
  type RunOptions,
  run,
  runCommand,
  temporary,
} from './support/mount.ts'

const TEST = { timeout: 120_000 }
const PAGE = 4096
const asOrdinaryUser = true
const rootSkip = process.getuid?.() !== 0 && 'only root can do this'

describe('evidence that is refused', () => {
  const header = (count: number) => Buffer.concat([u32(0xbed2_bed2), u32(8), u32(count)])
  const bytes =
    (...parts: Uint8Array[]) =>
    (path: string) =>
      writeFileSync(path, Buffer.concat(parts))
  const guest = (spec: CheckpointSpec) => (path: string) => void writeCheckpoint(path, spec)
  const memory = { name: 'memory', tags: [{ name: 'regionsCount', value: u32(0) }] }
  const compressed = { name: 'Memory', indices: [0, 0], compressed: pattern(1, 100), sizeInMemory: PAGE }

  // Numbers may be decimal or hexadecimal in a message, as long as they are there.
  const cases: [what: string, make: (path: string) => unknown, status: number, says: RegExp[]][] = [
    ['a text', bytes(text('This is no checkpoint. '.repeat(9))), 3, [/expected .*found/, /73696854|54 ?68 ?69 ?73/i]],
    ['an empty file', bytes(), 3, [/empty|\b0(x0)? bytes|end of the file/]],
    ['half a header', bytes(header(1).subarray(0, 7)), 3, [/\b(0x)?7\b|end of the file/]],
    ['a header alone', bytes(header(1)), 3, [/\b(92|0x5c|80|0x50)\b/]],
    [
      'a group table past the end',
      bytes(header(1000), Buffer.alloc(88)),
      3,
      [/\b(1000|0x3e8|80012|0x1388c)\b/, /\b(100|0x64)\b/],
    ],
    ['four thousand million groups', bytes(header(0xffff_ffff), Buffer.alloc(800)), 3, [/4294967295|0xffffffff/]],
    ['evidence that does not exist', () => {}, 3, [/ENOENT|no such|not exist/i]],
    ['an empty folder', (path) => mkdirSync(path), 3, [/\.vmss|\.vmsn|checkpoint/]],
    ['a FIFO', (path) => outputOf('mkfifo', [path]), 3, [/FIFO|pipe|regular file/i]],
    ['encryption', bytes(u32(0x8943_dd9e), u32(1), Buffer.alloc(PAGE)), 7, [/encrypted/]],
    ['memory that is not there', guest({ groups: [memory] }), 5, [/guest\.vmem/, /--vmem/, /--no-memory/]],
    ['compressed memory', guest({ groups: [{ ...memory, tags: [compressed] }] }), 8, [/compressed/, /--no-memory/]],
  ]
  for (const [what, make, status, says] of cases) {
    test(`${what}: ${status}`, TEST, () =>
      temporary(async (directory) => {
        const evidence = join(directory, 'guest.vmss')
        const mountpoint = makeMountpoint(directory)
        await make(evidence)
        await refused([evidence, mountpoint], status, [/guest\.vmss/, ...says], mountpoint)
        await refused(['-f', evidence, mountpoint], status, says, mountpoint)
      }),
    )
  }

  test('a .vmem that was named and is not there: 5', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmss')
      guest({ groups: [memory] })(evidence)
      // The one beside it is not what was asked for.
      writeFileSync(join(directory, 'guest.vmem'), pattern(1, PAGE))
      const mountpoint = makeMountpoint(directory)
      await refused(['--vmem', join(directory, 'other'), evidence, mountpoint], 5, [/other/], mountpoint)
    }),
  )

  test('a file that may not be read: 3', { ...TEST, skip: ordinaryUserSkip }, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmss')
      guest({ groups: [] })(evidence)
      chmodSync(evidence, 0)
      const mountpoint = makeMountpoint(directory, ORDINARY_ID)
      await refused([evidence, mountpoint], 3, [/guest\.vmss/, /EACCES|permission/i], mountpoint, { asOrdinaryUser })
    }),
  )
})

describe('a mountpoint that is refused', { skip: mountSkip }, () => {
  const cases: [what: string, make: (path: string) => unknown, says: RegExp][] = [
    ['one that does not exist', () => {}, /mkdir|no such|not exist|nothing/i],
    ['a file', (path) => writeFileSync(path, ''), /file|folder|directory/],
    ['one that is not empty', (path) => mkdirSync(join(path, 'something'), { recursive: true }), /empty/],
  ]
  for (const [what, make, says] of cases) {
    test(what, TEST, () =>
      temporary(async (directory) => {
        const mountpoint = join(directory, 'mnt')
        make(mountpoint)
        await refused([sound(directory), mountpoint], 9, [/\/mnt\b/, says], mountpoint)
      }),
    )
  }

  test('one that has a mount of ours already', TEST, () =>
    temporary((directory) => {
      const evidence = sound(directory)
      return mounted(evidence, [], async (mountpoint) => {
        const { status, stderr } = await runCommand([evidence, mountpoint])
        assertRefusal(stderr, [/\/mnt\b/, /\bun?mount /])
        assert.equal(status, 9)
        assert.equal(mountsAt(mountpoint).length, 1)
        assert.equal(daemonsOf(mountpoint).length, 1)
        assert.equal(await readFile(join(mountpoint, 'groups/cpu/rip[0]'), 'utf8'), '0x1234\n')
      })
    }),
  )

  test("one that has another filesystem's mount", { ...TEST, skip: rootSkip }, () =>
    temporary(async (directory) => {
      const mountpoint = makeMountpoint(directory)
      await outputOf('mount', ['-t', 'tmpfs', 'tmpfs', mountpoint])
      try {
        for (const args of [
          [sound(directory), mountpoint],
          ['unmount', mountpoint],
        ]) {
          const { status, stderr } = await runCommand(args)
          assertRefusal(stderr, [/\/mnt\b/, /tmpfs/])
          assert.equal(status, 9)
          assert.deepEqual(
            mountsAt(mountpoint).map(({ type }) => type),
            ['tmpfs'],
          )
        }
      } finally {
        await outputOf('umount', [mountpoint])
      }
    }),
  )

  test("another user's folder", { ...TEST, skip: ordinaryUserSkip || ordinaryDeviceSkip }, () =>
    temporary((directory) => {
      const mountpoint = makeMountpoint(directory)
      return refused([sound(directory), mountpoint], 9, [/\/mnt\b/], mountpoint, { asOrdinaryUser })
    }),
  )

  test('unmount where nothing is mounted, or where nothing is at all', TEST, () =>
    temporary(async (directory) => {
      const mountpoint = makeMountpoint(directory)
      await refused(['unmount', mountpoint], 9, [/\/mnt\b/, /not .*mount|no .*mount|nothing/i], mountpoint)
      const missing = join(directory, 'missing')
      await refused(['unmount', missing], 9, [/missing/], missing)
    }),
  )
})

describe('an ordinary user', { skip: mountSkip || ordinaryUserSkip }, () => {
  test('is told to install fuse3 where there is no fusermount3', { ...TEST, skip: ordinaryDeviceSkip }, () =>
    temporary(async (directory) => {
      const mountpoint = makeMountpoint(directory, ORDINARY_ID)
      const nowhere = join(directory, 'bin')
      mkdirSync(nowhere)
      // Not in the environment of setpriv, which is itself looked up in PATH.
      const args = [`PATH=${nowhere}`, process.execPath, cliPath, sound(directory), mountpoint]
      assertRefused(await run('env', args, { asOrdinaryUser }), 9, [/fuse3/], mountpoint)
    }),
  )

  test('is told where the device is not open to everybody', { ...TEST, skip: !ordinaryDeviceSkip && 'it is' }, () =>
    temporary((directory) => {
      const mountpoint = makeMountpoint(directory, ORDINARY_ID)
      return refused([sound(directory), mountpoint], 9, [/\/dev\/fuse/], mountpoint, { asOrdinaryUser })
    }),
  )

  const allowed =
    /^\s*user_allow_other\s*$/m.test(contentsOf('/etc/fuse.conf')) && '/etc/fuse.conf has user_allow_other'
  test('is told what allow_other needs', { ...TEST, skip: ordinaryDeviceSkip || allowed }, () =>
    temporary((directory) => {
      const mountpoint = makeMountpoint(directory, ORDINARY_ID)
      const args = ['-o', 'allow_other', sound(directory), mountpoint]
      return refused(args, 9, [/user_allow_other/, /\/etc\/fuse\.conf/], mountpoint, { asOrdinaryUser })
    }),
  )
})

describe('the command line', () => {
  // E and M stand for evidence and a mountpoint that would do.
  const cases: [args: string, says: RegExp][] = [
    ['', /./],
    ['mount', /./],
    ['E', /mountpoint/],
    ['E M more', /argument|more/],
    ['unmount', /mountpoint/],
    ['unmount M more', /argument|more/],
    ['--frobnicate E M', /--frobnicate/],
    ['E M --frobnicate', /--frobnicate/],
    ['-x E M', /-x/],
    ['E M -o', /-o/],
    ['E M --vmem', /--vmem/],
    ['-o rw E M', /\brw\b/],
    ['-o foo E M', /\bfoo\b/],
    ['-o ro,suid E M', /\bsuid\b/],
    ['-o dev E M', /\bdev\b/],
    ['-o exec E M', /\bexec\b/],
    ['-o fsname=a,rw E M', /\brw\b/],
    ['-o uid E M', /\buid\b/],
    ['-o uid=root E M', /\buid\b.*root/],
    ['-o uid=-1 E M', /\buid\b.*-1/],
    ['-o gid= E M', /\bgid\b/],
    ['-o umask=9 E M', /\bumask\b.*9/],
    ['-o umask=77777 E M', /\bumask\b.*77777/],
    ['-o allow_other=yes E M', /allow_other.*yes/],
  ]
  for (const [line, says] of cases) {
    test(`${line || 'nothing'}: 2`, TEST, () =>
      temporary((directory) => {
        const mountpoint = makeMountpoint(directory)
        const places: Record<string, string> = { E: sound(directory), M: mountpoint }
        const args = line.split(' ').filter(Boolean)
        return refused(
          args.map((arg) => places[arg] ?? arg),
          2,
          [says],
          mountpoint,
        )
      }),
    )
  }

  test('--help tells on standard output what there is', TEST, async () => {
    for (const args of [['--help'], ['mount', '--help'], ['unmount', '--help']]) {
      const { status, stdout, stderr } = await runCommand(args)
      assert.deepEqual([status, stderr], [0, ''], args.join(' '))
      assert.match(stdout, /mountpoint/, args.join(' '))
    }
  })
})

describe('what is wrong in a part', { skip: mountSkip }, () => {
  test('damage in one group leaves the others readable', TEST, () =>
    temporary((directory) => {
      const evidence = join(directory, 'guest.vmss')
      const placed = writeCheckpoint(evidence, {
        groups: [
          { name: 'first', tags: [{ name: 'number', value: u32(1) }] },
          { name: 'bad \x1b[31m\x07', tags: [{ name: 'torn \x1b]0;x\x07', block: pattern(1, 100) }] },
          { name: 'last', tags: [{ name: 'number', value: u32(2) }] },
          { name: 'memory', tags: [{ name: 'regionsCount', value: u32(0) }] },
        ],
      })
      const memory = pattern(2, 4 * PAGE)
      writeFileSync(join(directory, 'guest.vmem'), memory)
      // A block begins with its size on disk, 18 bytes before its data: now it ends far past the end of the file.
      const torn = placed.find(({ name }) => name.startsWith('torn'))
      patch(evidence, (torn?.offset ?? 0) - 18, u64(1n << 40n))
      return mounted(evidence, [], async (mountpoint, started) => {
        const lines = started.stderr.split('\n').slice(0, -1)
        assert.ok(lines.length > 0, 'the problem is told')
        const problems = await readFile(join(mountpoint, 'meta/problems.txt'), 'utf8')
        for (const line of lines) {
          assert.match(line, /^vmssfs: problem: ./)
          // A mount does not depend on where its evidence lies, so there only the names of the files stand.
          const problem = line.replace(/^vmssfs: problem: /, '').replaceAll(`${directory}/`, '')
          assert.ok(problems.includes(problem), `${problem} stands in ${problems}`)
        }
        assert.match(started.stderr, /1099511627776|0x10000000000/)
        assertHarmless(started.stderr)
        assertHarmless(problems)
        for (const name of ['first', 'last']) {
          const number = await readFile(join(mountpoint, 'groups', name, 'number'), 'utf8')
          assert.equal(number, name === 'first' ? '0x1\n' : '0x2\n')
        }
        assert.deepEqual(await readFile(join(mountpoint, 'physmem.raw')), memory)
      })
    }),
  )

  const broken: [what: string, spec: CheckpointSpec][] = [
    ['missing', { groups: [{ name: 'memory', tags: [{ name: 'regionsCount', value: u32(0) }] }] }],
    [
      'compressed',
      {
        groups: [
          {
            name: 'memory',
            tags: [{ name: 'Memory', indices: [0, 0], compressed: pattern(1, 9), sizeInMemory: PAGE }],
          },
        ],
      },
    ],
  ]
  for (const [what, spec] of broken) {
    test(`--no-memory mounts the rest where the memory is ${what}`, TEST, () =>
      temporary((directory) => {
        const evidence = join(directory, 'guest.vmss')
        const cpu = { name: 'cpu', tags: [{ name: 'rip', indices: [0], value: u64(0x1234) }] }
        writeCheckpoint(evidence, { groups: [cpu, ...spec.groups] })
        return mounted(evidence, ['--no-memory'], async (mountpoint) => {
          const names = await readdir(mountpoint)
          assert.ok(!names.some((name) => name.startsWith('physmem')), names.join())
          assert.equal(await readFile(join(mountpoint, 'groups/cpu/rip[0]'), 'utf8'), '0x1234\n')
          assert.ok((await readdir(join(mountpoint, 'raw/memory'))).length > 0)
        })
      }),
    )
  }
})

describe('messages', () => {
  test('show control characters of names, they do not send them to the terminal', TEST, () =>
    temporary(async (directory) => {
      const evil = '\x1b[31mred\x07\x9b2J\x7f\r\u202e'
      const mountpoint = makeMountpoint(directory)
      const evidence = sound(directory)
      const wrong = join(directory, `${evil}.vmss`)
      const missing = join(directory, evil)
      for (const args of [
        [wrong, mountpoint],
        [evidence, missing],
        ['--vmem', missing, evidence, mountpoint],
        ['-o', evil, evidence, mountpoint],
        ['-o', `uid=${evil}`, evidence, mountpoint],
        [`--${evil}`, evidence, mountpoint],
        [evidence, mountpoint, evil],
        ['unmount', missing],
      ]) {
        const { status, stderr } = await runCommand(args)
        assert.notEqual(status, 0)
        assertRefusal(stderr, [])
      }
      writeFileSync(wrong, 'neither')
      await refused([wrong, mountpoint], 3, [/red/], mountpoint)
    }),
  )

  test('DEBUG adds traces to standard error, and changes nothing else', { ...TEST, skip: mountSkip }, () =>
    temporary(async (directory) => {
      const evidence = sound(directory)
      for (const value of ['vmssfs:*', '*']) {
        await mounted(
          evidence,
          [],
          async (mountpoint, started) => {
            assert.match(started.stderr, /vmssfs:/)
            assert.equal(await readFile(join(mountpoint, 'groups/cpu/rip[0]'), 'utf8'), '0x1234\n')
          },
          { env: { DEBUG: value } },
        )
      }
    }),
  )
})

/** Runs a command line that must fail, and checks all that is the same for every failure. */
async function refused(
  args: readonly string[],
  status: number,
  says: readonly RegExp[],
  mountpoint: string,
  options: RunOptions = {},
): Promise<void> {
  assertRefused(await runCommand(args, options), status, says, mountpoint)
}

function assertRefused(finished: Finished, status: number, says: readonly RegExp[], mountpoint: string): void {
  assert.deepEqual([finished.status, finished.stdout], [status, ''], finished.stderr)
  assertRefusal(finished.stderr, says)
  assert.deepEqual(mountsAt(mountpoint), [])
  assert.deepEqual(daemonsOf(mountpoint), [])
}

function assertRefusal(stderr: string, says: readonly RegExp[]): void {
  assert.match(stderr, /^vmssfs: [^\n]+\n([^\n]+\n)?$/, 'one line, or two')
  assert.doesNotMatch(stderr, /^ {4}at /m, 'no stack trace')
  assertHarmless(stderr)
  for (const pattern of says) {
    assert.match(stderr, pattern)
  }
}

/** No control character but the line feed reaches the terminal, nor one that turns the direction of the text. */
function assertHarmless(output: string): void {
  assert.doesNotMatch(output, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/)
}

/** A checkpoint that can be mounted, with the memory beside it. */
function sound(directory: string): string {
  const evidence = join(directory, 'sound.vmss')
  const cpu = { name: 'cpu', tags: [{ name: 'rip', indices: [0], value: u64(0x1234) }] }
  const memory = { name: 'memory', tags: [{ name: 'regionsCount', value: u32(0) }] }
  writeCheckpoint(evidence, { groups: [cpu, memory] })
  writeFileSync(join(directory, 'sound.vmem'), pattern(1, PAGE))
  return evidence
}

function makeMountpoint(directory: string, owner?: number): string {
  const mountpoint = join(directory, 'mnt')
  mkdirSync(mountpoint)
  if (owner !== undefined) {
    chownSync(mountpoint, owner, owner)
  }
  return mountpoint
}

function patch(path: string, offset: number, bytes: Uint8Array): void {
  const descriptor = openSync(path, 'r+')
  writeSync(descriptor, bytes, 0, bytes.length, offset)
  closeSync(descriptor)
}

function contentsOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
