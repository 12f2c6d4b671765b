/**
 * A mount as its users meet it: through the kernel, with ordinary tools and file calls. Nothing is imported from the
 * program; what it ought to show is spelled out here or placed by the checkpoint builder.
 */
import assert from 'node:assert/strict'
import {
  chownSync,
  constants,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import {
  access,
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rmdir,
  stat,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { type TagSpec, text, u8, writeCheckpoint, writeSparse } from './support/checkpoint.ts'
import {
  ADDRESS_SPACE,
  CHECKPOINT_TIME,
  CONFIG,
  expectedTree,
  image,
  MEMORY_SIZE,
  MEMORY_TIME,
  memoryAt,
  memoryGroup,
  NEEDLE,
  NEEDLE_OFFSETS,
  OTHER_VIEWS,
  PAGE,
  physmem,
  REGIONS,
  readTree,
  sha256,
  summary,
  vmemOf,
  writeGuest,
  writePoweredOff,
} from './support/guest.ts'
import {
  daemonOf,
  daemonsOf,
  eventually,
  foreground,
  hasEnded,
  mounted,
  mountSkip,
  mountsAt,
  ORDINARY_ID,
  ordinaryDeviceSkip,
  ordinaryUserSkip,
  outputOf,
  pattern,
  run,
  runCommand,
  start,
  temporary,
  temporaryDirectory,
  toolSkip,
} from './support/mount.ts'

const GIB = 1024 ** 3
const TEST = { timeout: 180_000 }
const rootSkip = process.getuid?.() !== 0 && 'only root can do this'

// Read-only evidence is shared by all tests; what it stands in is removed with the test file.
const rich = mountSkip ? '' : writeGuest(join(temporaryDirectory(), 'rich guest'))
const off = mountSkip ? '' : writePoweredOff(temporaryDirectory())

describe('the tree of a mount', { skip: mountSkip }, () => {
  test('holds what the evidence holds, and nothing else', TEST, () =>
    mounted(rich, [], async (mountpoint, started) => {
      assert.equal(started.stderr, '')
      assert.deepEqual(summary(await readTree(mountpoint)), summary(expectedTree()))
    }),
  )

  test('describes itself below meta/', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const read = (name: string) => readFile(join(mountpoint, 'meta', name), 'utf8')
      assert.equal(await read('problems.txt'), '')
      assert.equal(typeof JSON.parse(await read('checkpoint.json')), 'object')
      assert.equal(typeof JSON.parse(await read('memory-map.json')), 'object')
      // Where the second region starts is in no other number of the map.
      assert.match(await read('memory-map.txt'), /\b(0x)?0*100000\b/)
    }),
  )

  test('has only what there is: a machine that was powered off has no memory', TEST, () =>
    mounted(off, [], async (mountpoint, started) => {
      assert.equal(started.stderr, '')
      const paths = [...(await readTree(mountpoint)).keys()].filter((path) => !path.startsWith('meta/')).sort()
      const snapshot = ['Snapshot', 'groups/', 'groups/Snapshot/', 'groups/Snapshot/cfgFile']
      assert.deepEqual(paths, [...snapshot, 'config.vmx', 'raw/', 'raw/Snapshot/', 'raw/Snapshot/cfgFile'].sort())
    }),
  )

  test('finds nothing that is not there', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const cases = [
        ['groups/nothing like it', 'ENOENT'],
        ['groups/cpu/rip', 'ENOENT'],
        ['groups/%2e%2e', 'ENOENT'],
        ['physmem.raw/deeper', 'ENOTDIR'],
        [`groups/${'x'.repeat(256)}`, 'ENOENT'],
      ] as const
      for (const [path, code] of cases) {
        await assert.rejects(stat(join(mountpoint, path)), { code }, path)
      }
    }),
  )

  test('gives every name a file, also one that is too long or not UTF-8', TEST, () =>
    temporary((directory) => {
      const names = [
        text('n'.repeat(255)),
        text(`${'n'.repeat(254)}m`),
        text('日'.repeat(85)),
        text('/'.repeat(255)),
        Buffer.from('caf\xe9', 'latin1'),
        Buffer.from([0xff, 0xfe]),
      ]
      const tags = names.map((name, index) => ({ name, indices: [index, 0, 0], value: Buffer.from(`value ${index}`) }))
      const checkpoint = join(directory, 'names.vmsn')
      writeCheckpoint(checkpoint, { groups: [{ name: 'names', tags }] })
      return mounted(checkpoint, [], async (mountpoint) => {
        const folder = join(mountpoint, 'groups/names')
        const files = await readdir(Buffer.from(folder), { encoding: 'buffer' })
        const values: string[] = []
        for (const file of files) {
          assert.ok(file.length <= 255, `${file}`)
          values.push(await readFile(Buffer.concat([Buffer.from(`${folder}/`), file]), 'utf8'))
        }
        assert.deepEqual(
          values.sort(),
          names.map((_, index) => `value ${index}`),
        )
        const cut = files.map(String).filter((file) => file.includes('~'))
        assert.ok(
          cut.some((file) => file.startsWith('n'.repeat(100))),
          cut.join('\n'),
        )
        assert.equal(cut.length, 4, cut.join('\n'))
      })
    }),
  )

  test('has the modes, sizes, owners and times of the contract', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const inodes = new Map<number, string>()
      for (const [path, content] of await readTree(mountpoint)) {
        const status = await lstat(join(mountpoint, path))
        const kind = status.isDirectory() ? 'directory' : status.isFile() ? 'file' : 'link'
        if (kind !== 'link') {
          assert.equal((status.mode & 0o7777).toString(8), kind === 'directory' ? '555' : '444', path)
        }
        if (kind === 'file') {
          assert.equal(status.size, content.length, path)
          const existing = path === 'physmem.raw' ? MEMORY_SIZE : status.size
          if (!OTHER_VIEWS.test(path)) {
            assert.equal(status.blocks, Math.ceil(existing / 512), `blocks of ${path}`)
          }
        }
        assert.equal(status.uid, process.getuid?.(), path)
        assert.equal(status.gid, process.getgid?.(), path)
        const time = /^physmem\./.test(path) ? MEMORY_TIME : CHECKPOINT_TIME
        assert.equal(status.mtime.toISOString(), time.toISOString(), path)
        assert.ok(status.ino > 0, path)
        assert.equal(inodes.get(status.ino), undefined, `${path} has an inode of its own`)
        inodes.set(status.ino, path)
      }
    }),
  )

  test('is the same in every mount: names, order, inodes, sizes, times and bytes', TEST, async () => {
    const views: string[][] = []
    // What is looked at first must not matter, nor which spelling of the evidence was given.
    for (const [evidence, first] of [
      [rich, 'groups/cpu/rip[0]'],
      [dirname(rich), 'raw/memory/regionsCount'],
    ] as const) {
      await mounted(evidence, [], async (mountpoint) => {
        await stat(join(mountpoint, first))
        const options = { cwd: mountpoint }
        // The record of this very run, which tells when and how it was started, is the one file whose content may differ.
        const record = 'provenance.json'
        views.push([
          await outputOf('ls', ['-lR', '-I', record], options),
          await outputOf('ls', ['-fR'], options),
          await outputOf('find', ['.', '!', '-name', record, '-printf', '%i %p %s %b %m %T@\n'], options),
          await outputOf('find', ['.', '-name', record, '-printf', '%i %p %m %T@\n'], options),
          await outputOf('find', ['.', '-type', 'f', '!', '-name', record, '-exec', 'sha256sum', '{}', '+'], options),
        ])
      })
    }
    const [one = [], two = []] = views
    for (const [index, view] of one.entries()) {
      assert.equal(two[index], view)
    }
  })

  test('shows in the table of mounts', TEST, () =>
    mounted(rich, [], (mountpoint) => {
      const [entry] = mountsAt(mountpoint)
      assert.equal(entry?.type, 'fuse.vmssfs')
      assert.equal(entry?.source, 'vmssfs')
      for (const option of ['ro', 'nosuid', 'nodev', 'noexec']) {
        assert.ok(entry?.options.includes(option), `${option} in ${entry?.options}`)
      }
      assert.ok(!entry?.options.includes('rw'), `no rw in ${entry?.options}`)
    }),
  )

  test('can be copied and listed with ordinary tools', TEST, () =>
    mounted(rich, [], (mountpoint) =>
      temporary(async (directory) => {
        const copy = join(directory, 'copy')
        await outputOf('cp', ['-r', mountpoint, copy])
        assert.deepEqual(summary(await readTree(copy)), summary(expectedTree()))
        const listing = await outputOf('find', ['.', '-ls'], { cwd: mountpoint })
        for (const path of ['physmem.raw', 'groups/cpu/fpuLevelState~2', 'config.vmx -> groups/Snapshot/cfgFile']) {
          assert.ok(listing.includes(`./${path}\n`), path)
        }
      }),
    ),
  )
})

describe('reading a mount', { skip: mountSkip }, () => {
  test('sha256sum, cmp and dd see the memory at its addresses', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const file = join(mountpoint, 'physmem.raw')
      assert.equal(await outputOf('sha256sum', [file]), `${sha256(physmem)}  ${file}\n`)
      for (const { address, image: offset, size } of REGIONS) {
        await outputOf('cmp', ['-n', `${size}`, '-i', `${address}:${offset}`, file, vmemOf(rich)])
      }
      const hole = REGIONS[1].address
      for (const [offset, size, blockSize] of [
        [0, 1, 1],
        [1, 4095, 4095],
        [4095, 3, 512],
        [96 * PAGE - 5, 10, 10],
        [96 * PAGE - 1, hole - 96 * PAGE + 2, 4097],
        [hole - 3, 7, 1],
        [ADDRESS_SPACE - 1, 100, 100],
        [ADDRESS_SPACE, 10, 10],
        [ADDRESS_SPACE + 12_345, 10, 10],
        [3, ADDRESS_SPACE, 99_991],
      ] as const) {
        const bytes = await dd(file, offset, size, blockSize)
        assert.ok(bytes.equals(physmem.subarray(offset, offset + size)), `${size} bytes at ${offset}, by ${blockSize}`)
      }
    }),
  )

  test('file calls read any range of any file', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const handle = await open(join(mountpoint, 'physmem.raw'))
      try {
        const buffer = Buffer.alloc(300_000)
        for (const [offset, size] of randomRanges(7, 200, ADDRESS_SPACE, buffer.length)) {
          const { bytesRead } = await handle.read(buffer, 0, size, offset)
          const expected = physmem.subarray(offset, offset + size)
          assert.ok(buffer.subarray(0, bytesRead).equals(expected), `${size} bytes at ${offset}`)
        }
      } finally {
        await handle.close()
      }
    }),
  )

  test('strings | grep finds text at its address', { ...TEST, skip: toolSkip('strings', 'grep') }, () =>
    mounted(rich, [], async (mountpoint) => {
      const script = 'strings -a -t d "$1" | grep -F "$2"'
      const found = await outputOf('sh', ['-c', script, 'sh', join(mountpoint, 'physmem.raw'), NEEDLE])
      const [first, last] = NEEDLE_OFFSETS
      const lines = [`${first} ${NEEDLE} at ${first}`, `${ADDRESS_SPACE - 100} ${NEEDLE} at ${last}`]
      assert.deepEqual(found.trim().split(/\s*\n\s*/), lines)
    }),
  )

  test('du shows the memory, du --apparent-size the address space', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const file = join(mountpoint, 'physmem.raw')
      assert.equal(await outputOf('du', ['-B1', file]), `${MEMORY_SIZE}\t${file}\n`)
      assert.equal(await outputOf('du', ['-B1', '--apparent-size', file]), `${ADDRESS_SPACE}\t${file}\n`)
    }),
  )

  test('mmap sees the same bytes', { ...TEST, skip: toolSkip('python3') }, () =>
    mounted(rich, [], async (mountpoint) => {
      const script = [
        'import hashlib, mmap, sys',
        'with open(sys.argv[1], "rb") as file:',
        '  view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)',
        '  for start, end in [(393211, 393226), (1048573, 1048580), (0, len(view))]:',
        '    print(hashlib.sha256(view[start:end]).hexdigest())',
      ].join('\n')
      const ranges = [physmem.subarray(393_211, 393_226), physmem.subarray(1_048_573, 1_048_580), physmem]
      const found = await outputOf('python3', ['-c', script, join(mountpoint, 'physmem.raw')])
      assert.equal(found, ranges.map((bytes) => `${sha256(bytes)}\n`).join(''))
    }),
  )

  test('sixteen readers at once each get their bytes', TEST, () =>
    temporary((directory) => {
      const half = 8 * 1024 * 1024
      const bytes = pattern(11, 2 * half)
      const layout = [
        { address: 0, image: 0, size: half },
        { address: 2 * half, image: half, size: half },
      ]
      const checkpoint = join(directory, 'wide.vmss')
      writeCheckpoint(checkpoint, { groups: [memoryGroup(layout)] })
      writeFileSync(vmemOf(checkpoint), bytes)
      const flat = memoryAt(layout, bytes)
      // Another process for each: within one, Node would let only four calls wait at a time.
      const reader = `
        const { openSync, readSync } = require('node:fs')
        const [path, ranges] = process.argv.slice(1)
        const hash = require('node:crypto').createHash('sha256')
        const descriptor = openSync(path)
        for (const [offset, size] of JSON.parse(ranges)) {
          const buffer = Buffer.alloc(size)
          hash.update(buffer.subarray(0, readSync(descriptor, buffer, 0, size, offset)))
        }
        process.stdout.write(hash.digest('hex'))`
      return mounted(checkpoint, [], async (mountpoint) => {
        const file = join(mountpoint, 'physmem.raw')
        const seeds = Array.from({ length: 16 }, (_, index) => index + 1)
        await Promise.all(
          seeds.map(async (seed) => {
            const ranges = randomRanges(seed, 100, flat.length, 100_000)
            const expected = sha256(...ranges.map(([offset, size]) => flat.subarray(offset, offset + size)))
            const found = await outputOf(process.execPath, ['-e', reader, file, JSON.stringify(ranges)])
            assert.equal(found, expected, `reader ${seed}`)
          }),
        )
      })
    }),
  )

  // 3 GiB at 0 and 2 GiB at 4 GiB, as a machine of 5 GiB has it.
  const layout = [
    { address: 0, image: 0, size: 3 * GIB },
    { address: 4 * GIB, image: 3 * GIB, size: 2 * GIB },
  ]
  const data = {
    size: 5 * GIB,
    pieces: [
      { offset: 0, bytes: pattern(21, 5000) },
      { offset: 3 * GIB - 5000, bytes: pattern(22, 10_000) },
      { offset: 5 * GIB - 3000, bytes: pattern(23, 3000) },
    ],
  }
  for (const form of ['beside the checkpoint', 'within the checkpoint'] as const) {
    test(`memory past 4 GiB, ${form}`, TEST, () =>
      temporary((directory) => {
        const checkpoint = join(directory, 'big.vmss')
        const memory = memoryGroup(layout)
        if (form === 'within the checkpoint') {
          memory.tags.push({ name: 'Memory', indices: [0, 0], block: data, pad: 4001 })
        } else {
          writeSparse(vmemOf(checkpoint), data)
        }
        const snapshot = { name: 'Snapshot', tags: [{ name: 'cfgFile', block: CONFIG }] }
        const cpu = { name: 'cpu', tags: [{ name: 'halted', indices: [0], value: u8(1) }] }
        writeCheckpoint(checkpoint, { groups: [memory, snapshot, cpu] })
        return mounted(checkpoint, [], async (mountpoint, started) => {
          assert.equal(started.stderr, '')
          const file = join(mountpoint, 'physmem.raw')
          assert.equal((await stat(file)).size, 6 * GIB)
          assert.equal(await outputOf('du', ['-B1', file]), `${5 * GIB}\t${file}\n`)
          const [head, seam, tail] = data.pieces.map(({ bytes }) => bytes) as [Buffer, Buffer, Buffer]
          for (const [offset, size, expected] of [
            [0, 6000, Buffer.concat([head], 6000)],
            [3 * GIB - 5001, 7001, Buffer.concat([Buffer.alloc(1), seam.subarray(0, 5000)], 7001)],
            [4 * GIB - 2001, 7777, Buffer.concat([Buffer.alloc(2001), seam.subarray(5000)], 7777)],
            [4 * GIB + 4999, 1, seam.subarray(9999)],
            [6 * GIB - 3001, 9999, Buffer.concat([Buffer.alloc(1), tail])],
          ] as const) {
            assert.ok((await dd(file, offset, size, 1000)).equals(expected), `${size} bytes at ${offset}`)
          }
          assert.deepEqual(await readFile(join(mountpoint, 'config.vmx')), CONFIG)
        })
      }),
    )
  }

  test('bytes that are missing are an error, those before them are not', TEST, () =>
    temporary((directory) => {
      const checkpoint = writeGuest(join(directory, 'short'))
      const existing = 128 * PAGE + 100
      writeFileSync(vmemOf(checkpoint), image.subarray(0, existing))
      const end = 0x10_0000 + existing - 96 * PAGE
      const whole = end - 100
      return mounted(checkpoint, [], async (mountpoint, started) => {
        const problems = await readFile(join(mountpoint, 'meta/problems.txt'), 'utf8')
        const lines = started.stderr.split('\n').slice(0, -1)
        assert.ok(lines.length > 0, 'the problem is told')
        for (const line of lines) {
          assert.match(line, /^vmssfs: problem: ./)
          // A mount does not depend on where its evidence lies, so there only the names of the files stand.
          const problem = line.replace(/^vmssfs: problem: /, '').replaceAll(`${dirname(checkpoint)}/`, '')
          assert.ok(problems.includes(problem), `${problem} stands in ${problems}`)
        }
        assert.ok(started.stderr.includes(basename(vmemOf(checkpoint))), started.stderr)
        const file = join(mountpoint, 'physmem.raw')
        const { size, blocks } = await stat(file)
        assert.equal(size, ADDRESS_SPACE)
        assert.equal(blocks, Math.ceil(existing / 512))
        // A whole copy first: it reads ahead across the end of what there is.
        const copy = await run('dd', [`if=${file}`, 'bs=64k', 'status=none'])
        assert.notEqual(copy.status, 0)
        assert.match(copy.stderr, /Input\/output error/)
        assert.ok(copy.output.length <= end)
        assert.ok(copy.output.equals(physmem.subarray(0, copy.output.length)))
        assert.ok((await dd(file, 0, whole, 64 * 1024)).equals(physmem.subarray(0, whole)))
        assert.ok((await dd(file, whole - 3 * PAGE, 3 * PAGE, PAGE)).equals(physmem.subarray(whole - 3 * PAGE, whole)))
        const handle = await open(file)
        try {
          const buffer = Buffer.alloc(PAGE)
          for (const offset of [end, whole + PAGE, ADDRESS_SPACE - PAGE, ADDRESS_SPACE - 1]) {
            await assert.rejects(handle.read(buffer, 0, PAGE, offset), { code: 'EIO' }, `at ${offset}`)
          }
        } finally {
          await handle.close()
        }
      })
    }),
  )

  test('evidence that shrinks under the mount is an error too, and no more than that', TEST, () =>
    temporary((directory) => {
      const checkpoint = writeGuest(join(directory, 'shrinking'))
      return mounted(checkpoint, [], async (mountpoint) => {
        await truncate(vmemOf(checkpoint), 0)
        await assert.rejects(readFile(join(mountpoint, 'physmem.raw')), { code: 'EIO' })
        assert.deepEqual(await readFile(join(mountpoint, 'config.vmx')), CONFIG)
      })
    }),
  )

  test('a reader that is killed halfway hurts nobody', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const file = join(mountpoint, 'physmem.raw')
      for (const script of ['head -c 5 "$1" >/dev/null', 'cat "$1" | head -c 5 >/dev/null', 'cat "$1" & kill -9 $!']) {
        await run('sh', ['-c', script, 'sh', file])
      }
      assert.equal(sha256(await readFile(file)), sha256(physmem))
    }),
  )

  test('a compressed value is refused below groups/, its bytes are below raw/', TEST, () =>
    temporary((directory) => {
      const compressed = pattern(31, 777)
      const checkpoint = join(directory, 'compressed.vmsn')
      const state = { name: 'state', compressed, sizeInMemory: 5000, pad: 3 }
      const tags: TagSpec[] = [state, { name: 'after', value: u8(4) }]
      writeCheckpoint(checkpoint, { groups: [{ name: 'device', tags }] })
      return mounted(checkpoint, [], async (mountpoint) => {
        await assert.rejects(readFile(join(mountpoint, 'groups/device/state')), { code: 'ENOTSUP' })
        const cat = await run('cat', [join(mountpoint, 'groups/device/state')])
        assert.match(cat.stderr, /not supported/)
        assert.equal(cat.output.length, 0)
        assert.deepEqual(await readFile(join(mountpoint, 'raw/device/state')), compressed)
        assert.equal(await readFile(join(mountpoint, 'groups/device/after'), 'utf8'), '0x4\n')
      })
    }),
  )
})

describe('writing to a mount', { skip: mountSkip }, () => {
  const time = new Date(0)
  const attempts: Record<string, (path: (name: string) => string) => Promise<unknown>> = {
    'open to write': (path) => open(path('physmem.raw'), constants.O_WRONLY),
    'open to read and write': (path) => open(path('physmem.raw'), constants.O_RDWR),
    'open to append': (path) => open(path('groups/cpu/rip[0]'), 'a'),
    'open to truncate': (path) => open(path('screenshot.png'), 'w'),
    'open through a link': (path) => open(path('config.vmx'), 'r+'),
    create: (path) => writeFile(path('new'), 'x'),
    'create in a group': (path) => open(path('groups/cpu/new'), 'wx'),
    mkdir: (path) => mkdir(path('new')),
    rmdir: (path) => rmdir(path('groups/Tools Install')),
    unlink: (path) => unlink(path('groups/cpu/rip[0]')),
    'unlink a link': (path) => unlink(path('Snapshot')),
    rename: (path) => rename(path('physmem.raw'), path('new')),
    'rename a folder': (path) => rename(path('groups/cpu'), path('groups/new')),
    chmod: (path) => chmod(path('physmem.raw'), 0o666),
    'chmod the root': (path) => chmod(path('.'), 0o777),
    chown: (path) => chown(path('physmem.raw'), 1, 1),
    truncate: (path) => truncate(path('physmem.raw'), 0),
    'truncate to the same size': (path) => truncate(path('physmem.raw'), ADDRESS_SPACE),
    utimes: (path) => utimes(path('physmem.raw'), time, time),
    symlink: (path) => symlink('physmem.raw', path('new')),
    link: (path) => link(path('physmem.raw'), path('new')),
    'access to write': (path) => access(path('physmem.raw'), constants.W_OK),
  }
  const tools: Record<string, (path: (name: string) => string) => [string, string[]]> = {
    touch: (path) => ['touch', [path('physmem.raw')]],
    mkfifo: (path) => ['mkfifo', [path('new')]],
    rm: (path) => ['rm', ['-rf', path('groups')]],
    setfattr: (path) => ['setfattr', ['-n', 'user.new', '-v', '1', path('physmem.raw')]],
  }

  test('is refused in every form', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const path = (name: string) => join(mountpoint, name)
      for (const [name, attempt] of Object.entries(attempts)) {
        await assert.rejects(attempt(path), { code: 'EROFS' }, name)
      }
      for (const [name, attempt] of Object.entries(tools).filter(([tool]) => !toolSkip(tool))) {
        const { status, stderr } = await run(...attempt(path))
        assert.notEqual(status, 0, name)
        assert.match(stderr, /Read-only file system/, name)
      }
      assert.deepEqual(summary(await readTree(mountpoint)), summary(expectedTree()))
    }),
  )
})

describe('the evidence', { skip: mountSkip }, () => {
  test('is opened read-only, and is afterwards what it was', TEST, () =>
    temporary(async (directory) => {
      const folder = join(directory, 'evidence')
      const checkpoint = writeGuest(folder)
      const files = [checkpoint, vmemOf(checkpoint)]
      // Older than the last change: so even a relatime filesystem would note that the file is read.
      const accessed = new Date('2001-01-01T00:00:00Z')
      const observe = () => ({
        folder: { names: readdirSync(folder).sort(), mtime: statSync(folder).mtimeMs },
        files: files.map((file) => {
          const { size, mtimeMs, ctimeMs, atimeMs, mode, ino } = statSync(file)
          return { size, mtimeMs, ctimeMs, atimeMs, mode, ino }
        }),
      })
      const digests = () => files.map((file) => sha256(readFileSync(file)))
      const digestsBefore = digests()
      for (const file of files) {
        utimesSync(file, accessed, statSync(file).mtime)
      }
      const before = observe()
      await mounted(checkpoint, [], async (mountpoint) => {
        await readTree(mountpoint)
        const folderOfDescriptors = `/proc/${daemonOf(mountpoint)}`
        const opened = readdirSync(`${folderOfDescriptors}/fd`).filter((descriptor) =>
          files.includes(linkTarget(`${folderOfDescriptors}/fd/${descriptor}`)),
        )
        assert.ok(opened.length >= files.length, 'both files are open')
        for (const descriptor of opened) {
          const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`${folderOfDescriptors}/fdinfo/${descriptor}`, 'utf8'))
          assert.equal(Number.parseInt(flags?.[1] ?? '', 8) & 0o3, constants.O_RDONLY)
        }
      })
      assert.deepEqual(observe(), before)
      assert.deepEqual(digests(), digestsBefore)
    }),
  )

  const names: Record<string, (checkpoint: string) => string[]> = {
    'by its path, absolute or not': (checkpoint) => [checkpoint, basename(checkpoint)],
    'by its folder': (checkpoint) => [dirname(checkpoint), '.'],
    'by its memory': (checkpoint) => [vmemOf(checkpoint)],
  }
  for (const [how, evidence] of Object.entries(names)) {
    test(`may be named ${how}`, TEST, () =>
      temporary(async (directory) => {
        const folder = join(directory, 'machine')
        for (const name of evidence(writeGuest(folder))) {
          const check = async (mountpoint: string) => {
            assert.equal(sha256(await readFile(join(mountpoint, 'physmem.raw'))), sha256(physmem), name)
          }
          await mounted(name, [], check, { cwd: folder })
        }
      }),
    )
  }

  test('may have its memory elsewhere', TEST, () =>
    temporary(async (directory) => {
      const checkpoint = writeGuest(join(directory, 'machine'))
      const elsewhere = join(directory, '21347668-e2cf')
      await outputOf('mv', [vmemOf(checkpoint), elsewhere])
      await mounted(checkpoint, ['--vmem', elsewhere], async (mountpoint) => {
        const file = join(mountpoint, 'physmem.raw')
        assert.equal(sha256(await readFile(file)), sha256(physmem))
        assert.equal((await stat(file)).mtime.toISOString(), MEMORY_TIME.toISOString())
      })
    }),
  )
})

describe('the life of a mount', { skip: mountSkip }, () => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    test(`${signal} ends a mount in the foreground and one in the background`, TEST, () =>
      temporary(async (directory) => {
        const front = join(directory, 'foreground')
        mkdirSync(front)
        const { child, finished } = await foreground(rich, front)
        child.kill(signal)
        const { status, signal: killedBy, stderr } = await finished
        assert.deepEqual({ status, killedBy, stderr }, { status: 0, killedBy: null, stderr: '' })
        assert.deepEqual(mountsAt(front), [])

        const back = join(directory, 'background')
        mkdirSync(back)
        assert.equal((await runCommand([rich, back])).status, 0)
        process.kill(daemonOf(back), signal)
        await eventually('the daemon has ended', () => daemonsOf(back).length === 0)
        assert.deepEqual(mountsAt(back), [])
      }),
    )
  }

  test('a mount whose daemon is killed goes away, and nothing stays', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const daemon = daemonOf(mountpoint)
      const children = childrenOf(daemon)
      assert.ok(children.length > 0, 'somebody watches')
      process.kill(daemon, 'SIGKILL')
      await eventually('it is unmounted', () => mountsAt(mountpoint).length === 0)
      await eventually('all have ended', () => [daemon, ...children].every(hasEnded))
    }),
  )

  test('who watches a mount ends with its daemon', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const pids = [daemonOf(mountpoint), ...childrenOf(daemonOf(mountpoint))]
      assert.equal((await runCommand(['unmount', mountpoint])).status, 0)
      await eventually('all have ended', () => pids.every(hasEnded))
    }),
  )

  test('a mount whose daemon and watcher were killed is cleared by the next one', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      await killDaemon(mountpoint)
      const ls = await run('ls', [mountpoint])
      assert.notEqual(ls.status, 0)
      assert.match(ls.stderr, /Transport endpoint is not connected/)
      await assert.rejects(readdir(mountpoint), { code: 'ENOTCONN' })
      const again = await runCommand([rich, mountpoint])
      assert.equal(again.status, 0, again.stderr)
      assert.equal(mountsAt(mountpoint).length, 1)
      assert.equal(await readFile(join(mountpoint, 'groups/cpu/rip[0]'), 'utf8'), '0xfffff80002c1c0ba\n')
    }),
  )

  test('a mount whose daemon and watcher were killed is cleared by unmount', TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      await killDaemon(mountpoint)
      const { status, stderr } = await runCommand(['unmount', mountpoint])
      assert.equal(status, 0, stderr)
      assert.deepEqual(mountsAt(mountpoint), [])
    }),
  )

  test('a log keeps what a daemon says', TEST, () =>
    temporary(async (directory) => {
      const log = join(directory, 'log')
      const checkpoint = writeGuest(join(directory, 'guest'))
      await mounted(checkpoint, ['--log-file', log], async (mountpoint) => {
        assert.match(
          readFileSync(log, 'utf8'),
          /^\S+Z .* is mounted on .*: transport (kernel|fuse-native), passthrough off\n$/,
        )
        await truncate(vmemOf(checkpoint), PAGE)
        // It is noticed within a second of the next read.
        await eventually('the change is said', async () => {
          await assert.rejects(readFile(join(mountpoint, 'physmem.raw')), { code: 'EIO' })
          return /^\S+Z .*expected the file as it was/m.test(readFileSync(log, 'utf8'))
        })
      })
    }),
  )

  test('unmount ends the mount and its daemon, however the place is spelled', TEST, () =>
    temporary(async (directory) => {
      const mountpoint = join(directory, 'mnt')
      mkdirSync(mountpoint)
      await symlink(mountpoint, join(directory, 'link'))
      for (const spelling of [mountpoint, `${mountpoint}/`, 'mnt', './mnt/../mnt', 'link']) {
        const options = { cwd: directory }
        const started = await runCommand(['mount', rich, spelling], options)
        assert.equal(started.status, 0, started.stderr)
        assert.equal(mountsAt(mountpoint).length, 1, spelling)
        const { status, stdout, stderr } = await runCommand(['unmount', spelling], options)
        assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' }, spelling)
        assert.deepEqual(mountsAt(mountpoint), [], spelling)
        // Found by the evidence: in its command line the mountpoint is spelled in the same way.
        await eventually('the daemon has ended', () => daemonsOf(rich).length === 0)
      }
    }),
  )

  test('unmounting with the tools of the system ends the daemon', TEST, async () => {
    const tools = [['fusermount3', '-u'], ...(rootSkip ? [] : [['umount'], ['umount', '-l']])]
    for (const [program = '', ...args] of tools) {
      await mounted(rich, [], async (mountpoint) => {
        await outputOf(program, [...args, mountpoint])
        await eventually('the daemon has ended', () => daemonsOf(mountpoint).length === 0)
      })
    }
  })

  const holders = {
    'an open file': 'exec 3<"$1/physmem.raw"; exec sleep 300',
    'a working directory': 'cd "$1/groups"; exec sleep 300',
  }
  for (const [holding, script] of Object.entries(holders)) {
    test(`a mount in use (${holding}) is not unmounted without a word, but its daemon can be ended`, TEST, () =>
      mounted(rich, [], async (mountpoint) => {
        const holder = start('sh', ['-c', script, 'sh', mountpoint])
        try {
          const name = `/proc/${holder.child.pid}/comm`
          await eventually('the mount is in use', () => readFileSync(name, 'utf8') === 'sleep\n')
          const { status, stderr } = await runCommand(['unmount', mountpoint])
          assert.equal(status, 9)
          assert.match(stderr, /^vmssfs: /)
          assert.match(stderr, new RegExp(`\\b${holder.child.pid}\\b`), 'it says who')
          assert.match(stderr, /\bsleep\b/, 'and which program that is')
          assert.equal(mountsAt(mountpoint).length, 1)
          assert.equal(await readFile(join(mountpoint, 'groups/cpu/cpu:numVCPUs'), 'utf8'), '0x2\n')

          const daemon = daemonOf(mountpoint)
          process.kill(daemon, 'SIGTERM')
          await eventually('it is detached', () => mountsAt(mountpoint).length === 0)
          await eventually('the daemon has ended', () => !daemonsOf(mountpoint).includes(daemon))
        } finally {
          holder.child.kill('SIGKILL')
          await holder.finished
        }
      }),
    )
  }

  test('any name will do for a mountpoint and for the evidence', TEST, () =>
    temporary(async (directory) => {
      const names = [
        'it\'s "quoted"',
        ' spaces, commas,ro',
        '$(touch pwned)',
        '`touch pwned`; touch pwned & ',
        'new\nline\ttab',
        'back\\slash \\040 %s',
        'ünïcødé 日本語',
      ]
      for (const name of names) {
        const mountpoint = join(directory, `mnt ${name}`)
        const folder = join(directory, name)
        mkdirSync(mountpoint)
        mkdirSync(folder)
        const checkpoint = writePoweredOff(folder)
        for (const end of ['unmount', 'signal'] as const) {
          const what = `${JSON.stringify(name)}, ${end}`
          const started = await runCommand([checkpoint, mountpoint], { cwd: directory })
          assert.equal(started.status, 0, `${what}: ${started.stderr}`)
          assert.equal(mountsAt(mountpoint).length, 1, what)
          assert.deepEqual(await readFile(join(mountpoint, 'config.vmx')), CONFIG, what)
          if (end === 'signal') {
            process.kill(daemonOf(mountpoint), 'SIGTERM')
          } else {
            const { status, stderr } = await runCommand(['unmount', mountpoint], { cwd: directory })
            assert.equal(status, 0, `${what}: ${stderr}`)
          }
          await eventually(`${what}: unmounted`, () => mountsAt(mountpoint).length === 0)
          await eventually(`${what}: the daemon has ended`, () => daemonsOf(mountpoint).length === 0)
        }
      }
      const all = names.flatMap((name) => [name, `mnt ${name}`])
      assert.deepEqual(readdirSync(directory).sort(), all.sort(), 'nothing else was made')
      // It would have been made in the working directory of a shell, and a daemon's may be the root.
      await assert.rejects(stat('/pwned'), { code: 'ENOENT' })
    }),
  )
})

describe('-o', { skip: mountSkip }, () => {
  test('uid, gid and umask', TEST, () =>
    mounted(off, ['-o', 'uid=1234,gid=2345,umask=0027'], async (mountpoint) => {
      for (const [path, mode] of [
        ['.', '550'],
        ['groups', '550'],
        ['groups/Snapshot/cfgFile', '440'],
        ['meta/problems.txt', '440'],
      ] as const) {
        const status = await stat(join(mountpoint, path))
        assert.deepEqual([status.uid, status.gid, (status.mode & 0o7777).toString(8)], [1234, 2345, mode], path)
      }
    }),
  )

  test('fsname, and ro that is always on', TEST, () =>
    mounted(off, ['-o', 'ro,fsname=case-42'], (mountpoint) => {
      const [entry] = mountsAt(mountpoint)
      assert.equal(entry?.source, 'case-42')
      assert.equal(entry?.type, 'fuse.vmssfs')
      assert.ok(entry?.options.includes('ro'))
    }),
  )

  // What another user may do: by default nothing, with allow_other all, with default_permissions what the modes say.
  const cases = [
    [[], false],
    [['-o', 'allow_other'], true],
    [['-o', 'allow_other,default_permissions'], true],
    [['-o', 'allow_other,default_permissions,umask=077'], false],
  ] as const
  for (const [args, allowed] of cases) {
    test(
      `${args.join(' ') || 'nothing'}: other users may ${allowed ? '' : 'not '}read`,
      { ...TEST, skip: ordinaryUserSkip },
      () =>
        mounted(off, args, async (mountpoint) => {
          const file = join(mountpoint, 'groups/Snapshot/cfgFile')
          const { status, stderr } = await run('cat', [file], { asOrdinaryUser: true })
          assert.equal(status === 0, allowed, stderr)
          assert.match(stderr, allowed ? /^$/ : /Permission denied/)
          const options = mountsAt(mountpoint)[0]?.options ?? []
          for (const option of ['allow_other', 'default_permissions']) {
            assert.equal(options.includes(option), args.join().includes(option), `${option} in ${options}`)
          }
        }),
    )
  }
})

describe('an ordinary user', { skip: mountSkip || ordinaryUserSkip }, () => {
  const asOrdinaryUser = true

  test('mounts and unmounts on a directory of his own', { ...TEST, skip: ordinaryDeviceSkip }, () =>
    temporary(async (directory) => {
      const mountpoint = join(directory, 'mnt')
      mkdirSync(mountpoint)
      chownSync(mountpoint, ORDINARY_ID, ORDINARY_ID)
      const started = await runCommand([rich, mountpoint], { asOrdinaryUser })
      assert.deepEqual([started.status, started.stderr], [0, ''])
      const digest = await outputOf('sha256sum', [join(mountpoint, 'physmem.raw')], { asOrdinaryUser })
      assert.ok(digest.startsWith(sha256(physmem)))
      const owners = await outputOf('find', [mountpoint, '-printf', '%U %G\n'], { asOrdinaryUser })
      assert.deepEqual([...new Set(owners.trim().split('\n'))], [`${ORDINARY_ID} ${ORDINARY_ID}`])
      const { status, stderr } = await runCommand(['unmount', mountpoint], { asOrdinaryUser })
      assert.equal(status, 0, stderr)
      await eventually('the daemon has ended', () => daemonsOf(mountpoint).length === 0)

      const { child, finished } = await foreground(rich, mountpoint, [], { asOrdinaryUser })
      child.kill('SIGTERM')
      assert.equal((await finished).status, 0)
      assert.deepEqual(mountsAt(mountpoint), [])

      // And where his daemon was killed, by the next mount.
      assert.equal((await runCommand([rich, mountpoint], { asOrdinaryUser })).status, 0)
      await killDaemon(mountpoint)
      const again = await runCommand([rich, mountpoint], { asOrdinaryUser })
      assert.equal(again.status, 0, again.stderr)
      assert.equal(mountsAt(mountpoint).length, 1)
      assert.equal((await runCommand(['unmount', mountpoint], { asOrdinaryUser })).status, 0)
    }),
  )

  test("cannot end somebody else's mount", TEST, () =>
    mounted(rich, [], async (mountpoint) => {
      const { status, stderr } = await runCommand(['unmount', mountpoint], { asOrdinaryUser })
      assert.equal(status, 9)
      assert.match(stderr, /^vmssfs: .*\n(.*\n)?$/)
      assert.equal(mountsAt(mountpoint).length, 1)
      assert.equal(await readFile(join(mountpoint, 'groups/cpu/cpu:numVCPUs'), 'utf8'), '0x2\n')
    }),
  )
})

async function dd(file: string, offset: number, size: number, blockSize: number): Promise<Buffer> {
  const flags = 'iflag=skip_bytes,count_bytes'
  const args = [`if=${file}`, `skip=${offset}`, `count=${size}`, `bs=${blockSize}`, flags, 'status=none']
  const { status, output, stderr } = await run('dd', args)
  assert.equal(status, 0, stderr)
  return output
}

/** Ranges that start within `total`; some end after it. */
function randomRanges(seed: number, count: number, total: number, longest: number): [number, number][] {
  const numbers = pattern(seed, count * 8)
  return Array.from({ length: count }, (_, index) => [
    numbers.readUInt32LE(index * 8) % total,
    1 + (numbers.readUInt32LE(index * 8 + 4) % longest),
  ])
}

/** Where a link leads, or nowhere if it is gone: a process closes files while one looks. */
function linkTarget(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/** Kills a daemon, and before that the process which would clear its mount. */
async function killDaemon(mountpoint: string): Promise<void> {
  const daemon = daemonOf(mountpoint)
  for (const pid of [...childrenOf(daemon), daemon]) {
    process.kill(pid, 'SIGKILL')
    await eventually(`${pid} is killed`, () => hasEnded(pid))
  }
}

function childrenOf(pid: number): number[] {
  const parent = new RegExp(`^PPid:\\t${pid}$`, 'm')
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && parent.test(statusOf(name)))
    .map(Number)
}

function statusOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    // It has ended since.
    return ''
  }
}
