/**
 * The transports beside each other, and what only the kernel's own can do. Everything is seen from outside, as in
 * mount.test.ts.
 */
import assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { release } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { writeCheckpoint } from './support/checkpoint.ts'
import { ADDRESS_SPACE, MEMORY_SIZE, PAGE, physmem, REGIONS, sha256, vmemOf, writeGuest } from './support/guest.ts'
import {
  daemonOf,
  daemonsOf,
  eventually,
  foreground,
  mounted,
  mountSkip,
  mountsAt,
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

const TEST = { timeout: 180_000 }
const TRANSPORTS = ['kernel', 'fuse-native'] as const
const linuxSkip = process.platform !== 'linux' && 'there is no /dev/fuse but on Linux'
const skip = mountSkip || linuxSkip
const rootSkip = process.getuid?.() !== 0 && 'only root can do this'
const ordinarySkip = ordinaryUserSkip || ordinaryDeviceSkip
const rich = skip ? '' : writeGuest(join(temporaryDirectory(), 'guest'))

/** A machine of 3 MiB without regions, whose physmem.raw is its .vmem byte for byte. */
const FLAT = pattern(31, 3 * 1024 * 1024)

describe('both transports', { skip }, () => {
  // What `auto` chooses runs as mount.test.ts itself.
  test('pass the whole mount suite', {
    timeout: 400_000,
    skip: process.env['VMSSFS_TEST_TRANSPORT'] !== undefined,
  }, async () => {
    const suite = fileURLToPath(new URL('./mount.test.js', import.meta.url))
    const env = { VMSSFS_TEST_TRANSPORT: 'fuse-native' }
    const { status, stdout } = await run(process.execPath, ['--test', suite], { env, limit: 390_000 })
    assert.equal(status, 0, stdout.slice(stdout.search(/^ *not ok/m)))
  })

  for (const transport of TRANSPORTS) {
    test(
      `${transport}: a tag's place in the evidence is in its extended attributes`,
      { ...TEST, skip: toolSkip('python3') },
      () =>
        mounted(rich, ['--transport', transport], async (mountpoint) => {
          const lines = (await outputOf('python3', ['-c', XATTRS, mountpoint])).trim().split('\n')
          const evidence = readFileSync(rich)
          assert.ok(lines.length > 40, `${lines.length} tags`)
          for (const line of lines) {
            const [path, offset, size, kind] = JSON.parse(line)
            assert.ok(['inline', 'plain'].includes(kind), line)
            const bytes = evidence.subarray(Number(offset), Number(offset) + Number(size))
            assert.ok((await readFile(join(mountpoint, 'raw', path))).equals(bytes), line)
          }
          assert.equal(
            await outputOf('python3', [
              '-c',
              'import os, sys; print(os.listxattr(sys.argv[1]))',
              join(mountpoint, 'physmem.raw'),
            ]),
            '[]\n',
          )
        }),
    )

    test(`${transport}: evidence that changes is not read any more, and that is said once`, TEST, () =>
      temporary(async (directory) => {
        const checkpoint = writeGuest(join(directory, 'changing'))
        const mountpoint = join(directory, 'mnt')
        mkdirSync(mountpoint)
        const { child, finished } = await foreground(checkpoint, mountpoint, ['--transport', transport])
        const file = join(mountpoint, 'physmem.raw')
        const dd = (skip: number) =>
          run('dd', [`if=${file}`, 'of=/dev/null', 'bs=4096', 'count=4', `skip=${skip}`, 'status=none'])
        for (let page = 0; page < 64; page += 4) {
          assert.equal((await dd(page)).status, 0)
        }
        appendFileSync(vmemOf(checkpoint), 'more')
        await sleep(1100)
        // Far from what has been read, and so from what the kernel has read ahead.
        for (const page of [256, 300, 350, 400]) {
          assert.match((await dd(page)).stderr, /Input\/output error/)
        }
        child.kill('SIGTERM')
        const { status, stderr } = await finished
        assert.equal(status, 0)
        assert.match(
          stderr,
          /^vmssfs: .*expected the file as it was when it was opened, found 1048580 bytes, not 1048576; .*\n$/,
        )
      }),
    )
  }
})

describe('the kernel transport', { skip }, () => {
  const kernel = ['--transport', 'kernel']

  test('shows where the holes are', { ...TEST, skip: toolSkip('python3') }, () =>
    mounted(rich, kernel, async (mountpoint) => {
      const hole = [96 * PAGE, REGIONS[1].address]
      const found = await outputOf('python3', ['-c', SEEKS, join(mountpoint, 'physmem.raw')])
      assert.deepEqual(JSON.parse(found), [[0, hole[0]], [hole[1], ADDRESS_SPACE], 'ENXIO', 'ENXIO'])
    }),
  )

  test('is copied with its holes', TEST, () =>
    mounted(rich, kernel, (mountpoint) =>
      temporary(async (directory) => {
        const copy = join(directory, 'copy')
        await outputOf('cp', ['--sparse=auto', join(mountpoint, 'physmem.raw'), copy])
        assert.equal(sha256(readFileSync(copy)), sha256(physmem))
        assert.ok(statSync(copy).blocks * 512 < MEMORY_SIZE + 64 * 1024, `${statSync(copy).blocks} blocks`)
      }),
    ),
  )

  test('is what `auto` chooses', { ...TEST, skip: rootSkip }, () =>
    temporary(async (directory) => {
      const mountpoint = join(directory, 'mnt')
      mkdirSync(mountpoint)
      const { child, finished } = await foreground(rich, mountpoint, ['--transport', 'auto'], {
        env: { DEBUG: 'vmssfs:fuse' },
      })
      child.kill('SIGTERM')
      assert.match((await finished).stderr, /transport kernel/)
    }),
  )

  for (const workers of ['1', '8']) {
    test(`serves with ${workers} threads`, TEST, () =>
      mounted(rich, [...kernel, '--workers', workers], async (mountpoint) => {
        assert.equal(sha256(await readFile(join(mountpoint, 'physmem.raw'))), sha256(physmem))
      }),
    )
  }

  test('raises the read-ahead of the mount', { ...TEST, skip: rootSkip }, () =>
    mounted(rich, [...kernel, '--read-ahead', '512'], (mountpoint) => {
      const line = readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .find((entry) => entry.includes(mountpoint))
      const readAhead = readFileSync(`/sys/class/bdi/${line?.split(' ')[2]}/read_ahead_kb`, 'utf8')
      assert.equal(readAhead, '512\n')
    }),
  )

  test('refuses options that make no sense', TEST, () =>
    temporary(async (directory) => {
      for (const args of [
        ['--workers', '0'],
        ['--workers', 'x'],
        ['--read-ahead', '-1'],
        ['--transport', 'carrier-pigeon'],
      ]) {
        const { status, stderr } = await runCommand(['-f', ...args, rich, directory])
        assert.equal(status, 2, stderr)
      }
    }),
  )

  test('says what it lacks', { ...TEST, skip: ordinaryUserSkip }, () =>
    temporary(async (directory) => {
      const setpriv = await outputOf('sh', ['-c', 'command -v setpriv'])
      symlinkSync(setpriv.trim(), join(directory, 'setpriv'))
      const options = { asOrdinaryUser: true, env: { PATH: directory } }
      const { status, stderr } = await runCommand(['-f', ...kernel, rich, directory], options)
      assert.equal(status, 9, stderr)
      assert.match(stderr, /^vmssfs: --transport kernel: fusermount3: expected .*\n.*--transport fuse-native\n$/)
    }),
  )

  test('lets in root and the owner with allow_root, and nobody else', { ...TEST, skip: ordinarySkip }, () =>
    // As root it is the same as letting nobody in; that nobody gets in is what can be seen here.
    mounted(rich, [...kernel, '-o', 'allow_root'], async (mountpoint) => {
      const file = join(mountpoint, 'groups/cpu/rip[0]')
      assert.equal(await readFile(file, 'utf8'), '0xfffff80002c1c0ba\n')
      const { status, stderr } = await run('cat', [file], { asOrdinaryUser: true })
      assert.notEqual(status, 0)
      assert.match(stderr, /Permission denied/)
    }),
  )

  test('ends though the mount lives on in another namespace', { ...TEST, skip: rootSkip || toolSkip('unshare') }, () =>
    mounted(rich, kernel, async (mountpoint) => {
      const other = start('unshare', ['-m', '--propagation', 'private', 'sleep', '300'])
      try {
        await eventually(
          'it has a namespace of its own',
          () => readFileSync(`/proc/${other.child.pid}/comm`, 'utf8') === 'sleep\n',
        )
        process.kill(daemonOf(mountpoint), 'SIGTERM')
        await eventually('the daemon has ended', () => daemonsOf(mountpoint).length === 0)
        assert.deepEqual(mountsAt(mountpoint), [])
      } finally {
        other.child.kill('SIGKILL')
        await other.finished
      }
    }),
  )
})

describe('passthrough', { skip: skip || rootSkip }, () => {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  const oldSkip = (major < 6 || (major === 6 && minor < 9)) && `Linux ${release()} has no passthrough`

  test('the kernel reads the evidence by itself, and its access time stays', { ...TEST, skip: oldSkip }, () =>
    flat(async (checkpoint) => {
      const evidence = vmemOf(checkpoint)
      utimesSync(evidence, new Date('2001-01-01T00:00:00Z'), statSync(evidence).mtime)
      const before = statSync(evidence, { bigint: true })
      await mounted(checkpoint, ['--transport', 'kernel'], async (mountpoint) => {
        const file = join(mountpoint, 'physmem.raw')
        assert.equal((await outputOf('sha256sum', [file])).slice(0, 64), sha256(FLAT))
        for (const [offset, size] of [
          [4095, 2],
          [FLAT.length - 3, 10],
          [FLAT.length, 1],
          [1_000_001, 99_999],
        ] as const) {
          const args = [`if=${file}`, `skip=${offset}`, `count=${size}`, 'iflag=skip_bytes,count_bytes', 'status=none']
          assert.ok((await run('dd', args)).output.equals(FLAT.subarray(offset, offset + size)), `${size} at ${offset}`)
        }
        const daemon = daemonOf(mountpoint)
        const rchar = () => Number(/rchar: (\d+)/.exec(readFileSync(`/proc/${daemon}/io`, 'utf8'))?.[1])
        const [read, cpu] = [rchar(), sha256(await readFile(file))]
        assert.equal(cpu, sha256(FLAT))
        assert.ok(rchar() - read < 65_536, `${rchar() - read} bytes read by the daemon`)
      })
      const after = statSync(evidence, { bigint: true })
      assert.deepEqual([after.atimeNs, after.ctimeNs, after.mtimeNs], [before.atimeNs, before.ctimeNs, before.mtimeNs])
    }),
  )

  test('does not begin with evidence that has changed', { ...TEST, skip: oldSkip }, () =>
    flat((checkpoint) =>
      mounted(checkpoint, ['--transport', 'kernel'], async (mountpoint) => {
        const file = join(mountpoint, 'physmem.raw')
        assert.equal((await readFile(file)).length, FLAT.length)
        appendFileSync(vmemOf(checkpoint), 'more')
        await sleep(1100)
        await assert.rejects(readFile(file), { code: 'EIO' })
        await assert.rejects(readFile(file), { code: 'EIO' })
      }),
    ),
  )

  test('can be turned off, and nothing looks different', TEST, () =>
    flat(async (checkpoint) => {
      const views: string[] = []
      for (const args of [[], ['--no-passthrough']]) {
        await mounted(checkpoint, ['--transport', 'kernel', ...args], async (mountpoint) => {
          const options = { cwd: mountpoint }
          const listing = await outputOf(
            'find',
            ['.', '!', '-name', 'provenance.json', '-printf', '%i %p %s %b %m %T@\n'],
            options,
          )
          views.push(`${listing}${sha256(await readFile(join(mountpoint, 'physmem.raw')))}`)
        })
      }
      assert.equal(views[0], views[1])
    }),
  )
})

/** A checkpoint with {@link FLAT} beside it. */
function flat(body: (checkpoint: string) => Promise<void>): Promise<void> {
  return temporary((directory) => {
    const checkpoint = join(directory, 'flat.vmss')
    writeCheckpoint(checkpoint, { groups: [{ name: 'memory', tags: [] }] })
    writeFileSync(vmemOf(checkpoint), FLAT)
    return body(checkpoint)
  })
}

/** The extended attributes of every file below groups/, a JSON line each. */
const XATTRS = `
import json, os, sys
top = os.path.join(sys.argv[1], 'groups')
for folder, _, names in os.walk(top):
  for name in names:
    path = os.path.join(folder, name)
    values = {key: os.getxattr(path, key).decode() for key in os.listxattr(path)}
    print(json.dumps([os.path.relpath(path, top)] + [values['user.vmss.' + key] for key in ('offset', 'size', 'kind')]))`

/** The stretches of data in a file, then what looking behind its end comes to. */
const SEEKS = `
import errno, json, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
end, found = 0, []
while end < os.fstat(file).st_size:
  start = os.lseek(file, end, os.SEEK_DATA)
  end = os.lseek(file, start, os.SEEK_HOLE)
  found.append([start, end])
for whence in os.SEEK_DATA, os.SEEK_HOLE:
  try: found.append(os.lseek(file, end, whence))
  except OSError as error: found.append(errno.errorcode[error.errno])
print(json.dumps(found))`
