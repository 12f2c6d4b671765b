/** The tree without a mount: `vmssfs ls` lists it, `vmssfs cat` has its bytes. Nothing is imported from the program. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { text, u8, u32, u64, writeCheckpoint, writeSparse } from './support/checkpoint.ts'
import {
  ADDRESS_SPACE,
  CONFIG,
  expectedTree,
  image,
  memoryGroup,
  OTHER_VIEWS,
  PAGE,
  physmem,
  REGIONS,
  sha256,
  vmemOf,
  writeGuest,
  writePoweredOff,
} from './support/guest.ts'
import { cliPath, type Finished, pattern, run, runCommand, start, temporary, toolSkip } from './support/mount.ts'

const TEST = { timeout: 120_000 }
const GIBIBYTE = 2 ** 30
const MEBIBYTE = 2 ** 20

interface Entry {
  path: string
  kind: string
  size: number
  target?: string
  mtime: string
  inode: number
  stored: number
}

describe('ls', () => {
  test('-R --json has every path, with its kind, size, target and time', TEST, () =>
    withGuest(async (evidence) => {
      const entries: Entry[] = JSON.parse(await output('ls', evidence, '-R', '--json'))
      const lines = entries.map(({ path, kind, size, target }) =>
        kind === 'directory' ? `${path}/` : kind === 'link' ? `${path} -> ${target}` : `${path} ${size}`,
      )
      const expected = [...expectedTree()].map(([path, bytes]) => {
        const content = bytes.toString('latin1')
        return path.endsWith('/') ? path : content.startsWith('-> ') ? `${path} ${content}` : `${path} ${bytes.length}`
      })
      const isOther = (line: string) => OTHER_VIEWS.test(line.replace(/ \d+$/, ''))
      assert.deepEqual(lines.filter((line) => !isOther(line) && line !== 'cpu/').sort(), expected.sort())
      assert.equal(new Set(entries.map(({ inode }) => inode)).size, entries.length)
      const memory = entries.find(({ path }) => path === 'physmem.raw')
      assert.equal(memory?.stored, image.length)
      assert.equal(memory?.mtime, '2010-02-12T06:05:30.000Z')
      assert.equal(entries.find(({ path }) => path === 'config.vmx')?.mtime, '2011-03-13T07:06:40.000Z')
    }),
  )

  test('lists names in a folder, and paths elsewhere', TEST, () =>
    withGuest(async (evidence) => {
      const usb = ['first']
      assert.deepEqual(await lines('ls', evidence, 'groups/usb'), usb)
      assert.deepEqual(await lines('ls', evidence, '/groups//usb/./'), usb)
      assert.deepEqual(await lines('ls', evidence, '-R', 'groups/usb'), ['groups/usb/first'])
      assert.deepEqual(await lines('ls', evidence, 'groups/usb/first'), ['groups/usb/first'])
      assert.deepEqual(await lines('ls', evidence, 'groups/usb*'), ['groups/usb', 'groups/usb~2'])
      const below = ['groups/usb', 'groups/usb/first', 'groups/usb~2', 'groups/usb~2/second']
      assert.deepEqual(await lines('ls', evidence, '-R', 'groups/usb*'), below)
      assert.deepEqual(await lines('ls', evidence, 'groups/Tools Install'), [])
      assert.deepEqual(JSON.parse(await output('ls', evidence, '--json', 'groups/Tools Install')), [])
      assert.ok((await lines('ls', evidence)).includes('physmem.raw'))
    }),
  )

  test('follows links as a shell does', TEST, () =>
    withGuest(async (evidence) => {
      assert.deepEqual(await lines('ls', evidence, 'Snapshot'), ['cfgFile'])
      assert.deepEqual(await lines('ls', evidence, 'Snapshot/../usb'), ['first'])
      assert.deepEqual(await lines('ls', evidence, 'Snapshot/cfg*'), ['Snapshot/cfgFile'])
      assert.match(await output('ls', evidence, '-l', 'Snapshot'), / Snapshot -> groups\/Snapshot\n$/)
      assert.match(await output('ls', evidence, '-l', 'Snapshot/'), / cfgFile\n$/)
      assert.deepEqual(await lines('ls', evidence, '-R', '**/cfg*'), [
        'groups/Snapshot/cfgFile',
        'raw/Snapshot/cfgFile',
      ])
    }),
  )

  test('-l has modes, sizes and times', TEST, () =>
    withGuest(async (evidence) => {
      const long = await lines('ls', evidence, '-l')
      assert.equal(long[0], `-r--r--r-- ${ADDRESS_SPACE} 2010-02-12T06:05:30Z physmem.raw`)
      assert.ok(long.includes('dr-xr-xr-x       0 2011-03-13T07:06:40Z groups'), long.join('\n'))
      assert.ok(long.includes('lrwxrwxrwx      23 2011-03-13T07:06:40Z config.vmx -> groups/Snapshot/cfgFile'))
    }),
  )

  test('shows a terminal no character that acts', { ...TEST, skip: toolSkip('script') }, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmsn')
      const name = 'a\u202eb\u0085c'
      writeCheckpoint(evidence, { groups: [{ name: 'group', tags: [{ name, value: u8(1) }] }] })
      assert.deepEqual(await lines('ls', evidence, 'groups/group'), [name])
      const command = [process.execPath, cliPath, 'ls', evidence, 'groups/group'].map((word) => `'${word}'`).join(' ')
      const { stdout } = await run('script', ['-qec', command, '/dev/null'])
      assert.equal(stdout.trim(), 'a\\u{202e}b\\x85c')
      const json = await output('ls', evidence, 'groups/group', '--json')
      assert.match(json, /a\\u202eb\\u0085c/)
      assert.equal(JSON.parse(json)[0].path, `groups/group/${name}`)
    }),
  )

  test('a path that does not exist: 4, and where to look', TEST, () =>
    withGuest(async (evidence) => {
      assertRefused(
        await runCommand(['ls', evidence, 'groups/cpu/rip[7]/x']),
        4,
        /groups\/cpu\/rip\[7\]\/x.*\n.*ls .* groups\/cpu\n$/,
      )
      assertRefused(await runCommand(['ls', evidence, 'groups/c*/zz*']), 4, /groups\/c\*\/zz\*/)
      assertRefused(await runCommand(['ls', evidence, 'physmem.raw/x']), 4, /physmem\.raw\/x/)
    }),
  )
})

describe('patterns', () => {
  const cases: [pattern: string, matches: string[]][] = [
    ['groups/cpu/rip*', ['groups/cpu/rip[0]', 'groups/cpu/rip[1]']],
    ['groups/cpu/rip[?]', ['groups/cpu/rip[0]', 'groups/cpu/rip[1]']],
    // Brackets are never a class of characters, nor are braces a range.
    ['groups/cpu/ri*[01]', []],
    ['groups/cpu/rip[{0..1}]', []],
    ['groups/cpu/rip[{0,1}]', ['groups/cpu/rip[0]', 'groups/cpu/rip[1]']],
    ['{raw,groups}/usb/*', ['groups/usb/first', 'raw/usb/first']],
    ['groups/{usb/f*,usb~2/*}', ['groups/usb/first', 'groups/usb~2/second']],
    ['**/second', ['groups/usb~2/second', 'raw/usb~2/second']],
    ['groups/*/BM ?md*', ['groups/nvme0:0/BM cmdReg']],
    ['groups/%2E*/100%*', ['groups/%2E%2E/100%25']],
    ['*.raw', ['physmem.raw']],
    ['!*', []],
    ['groups/+(usb)/*', []],
  ]
  for (const [glob, matches] of cases) {
    test(glob, TEST, () =>
      withGuest(async (evidence) => {
        const { status, stdout, stderr } = await runCommand(['ls', evidence, glob])
        assert.deepEqual(stdout.split('\n').slice(0, -1), matches)
        assert.equal(status, matches.length > 0 ? 0 : 4, stderr)
      }),
    )
  }

  test('a path that exists wins over the pattern that it is too', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmsn')
      const names = ['a*', 'ab', 'a{b,c}', 'ac', 'x[0]', 'x0', 'back\\slash']
      const tags = names.map((name) => ({ name, value: Buffer.from(`<value of ${name}>`) }))
      writeCheckpoint(evidence, { groups: [{ name: 'g', tags }] })
      for (const name of names) {
        assert.equal(await output('cat', evidence, `groups/g/${name}`), `<value of ${name}>`)
      }
      assert.equal(await output('cat', evidence, 'groups/g/a?'), '<value of a*><value of ab><value of ac>')
      assert.equal(await output('cat', evidence, 'groups/g/?\\*'), '<value of a*>')
    }),
  )
})

describe('cat', () => {
  test('has the bytes of every file, in the order of the paths', TEST, () =>
    withGuest(async (evidence) => {
      const files = [...expectedTree()].filter(
        ([path, bytes]) => !path.endsWith('/') && !bytes.subarray(0, 3).equals(text('-> ')),
      )
      const { status, output, stderr } = await runCommand(['cat', evidence, ...files.map(([path]) => path)])
      assert.equal(status, 0, stderr)
      const sizes = files.map(([path, bytes]) => [path, bytes.length] as const)
      let offset = 0
      for (const [[path, size], [, bytes]] of sizes.map(
        (size, index) => [size, files[index] as (typeof files)[0]] as const,
      )) {
        assert.equal(sha256(output.subarray(offset, offset + size)), sha256(bytes), path)
        offset += size
      }
      assert.equal(output.length, offset)
    }),
  )

  test('reads numbers, links, what links lead through, and one path twice', TEST, () =>
    withGuest(async (evidence) => {
      assert.equal(await output('cat', evidence, 'groups/cpu/rip[0]'), '0xfffff80002c1c0ba\n')
      assert.equal(await output('cat', evidence, '/groups/usb/first', 'groups/usb~2/second'), '0x1\n0x2\n')
      assert.equal(await output('cat', evidence, 'groups/usb/first', 'groups/usb/first'), '0x1\n0x1\n')
      assert.equal(await output('cat', evidence, 'groups/*/{first,second}'), '0x1\n0x2\n')
      for (const path of ['config.vmx', 'Snapshot/cfgFile', 'groups/../Snapshot/cfgFile']) {
        assert.deepEqual((await runCommand(['cat', evidence, path])).output, CONFIG, path)
      }
      // Folders that a pattern matches are passed over.
      assert.ok((await runCommand(['cat', evidence, '*'])).output.includes(CONFIG))
    }),
  )

  test('writes nothing beside the evidence, and leaves it alone', TEST, () =>
    withGuest(async (evidence) => {
      const folder = join(evidence, '..')
      const before = readdirSync(folder).map((name) => [name, sha256(readFileSync(join(folder, name)))])
      await output('cat', evidence, 'groups/usb/first')
      await output('ls', evidence, '-R')
      assert.deepEqual(
        readdirSync(folder).map((name) => [name, sha256(readFileSync(join(folder, name)))]),
        before,
      )
    }),
  )

  test('refuses folders and what does not exist, before the first byte: 4', TEST, () =>
    withGuest(async (evidence) => {
      for (const path of ['groups', 'Snapshot', '/', 'group*']) {
        assertRefused(
          await runCommand(['cat', evidence, 'groups/usb/first', path]),
          4,
          /expected a file.*found a directory/,
        )
      }
      assertRefused(
        await runCommand(['cat', evidence, 'groups/usb/first', 'groups/usb/second']),
        4,
        /groups\/usb\/second/,
      )
    }),
  )

  test('has no memory of a machine that was off: 4', TEST, () =>
    temporary(async (directory) => {
      const evidence = writePoweredOff(directory)
      assertRefused(await runCommand(['cat', evidence, 'physmem.raw']), 4, /physmem\.raw/)
      assert.equal((await runCommand(['cat', evidence, 'config.vmx'])).output.compare(CONFIG), 0)
    }),
  )

  test('of a truncated .vmem has all up to the cut, and then ends: 6', TEST, () =>
    withGuest(async (evidence) => {
      const cut = REGIONS[1].image + 4 * PAGE + 123
      truncateSync(vmemOf(evidence), cut)
      const readable = REGIONS[1].address + cut - REGIONS[1].image
      const { status, output, stderr } = await runCommand([
        'cat',
        evidence,
        'groups/usb/first',
        'physmem.raw',
        'groups/usb/first',
      ])
      assert.equal(status, 6)
      assert.equal(output.length, 4 + readable)
      assert.equal(sha256(output.subarray(4)), sha256(physmem.subarray(0, readable)))
      assert.match(stderr, /^vmssfs: .*guest-Snapshot1\.vmem at 0x[0-9a-f]+: expected .*found the end of the \w+ at /m)
      assert.doesNotMatch(stderr, /\n {4}at /)
    }),
  )

  test('of a compressed block refuses what it means, and has what lies there: 8', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmsn')
      const compressed = pattern(1, 100)
      writeCheckpoint(evidence, { groups: [{ name: 'g', tags: [{ name: 't', compressed, sizeInMemory: 999 }] }] })
      assertRefused(await runCommand(['cat', evidence, 'groups/g/t']), 8, /compressed/)
      assert.deepEqual((await runCommand(['cat', evidence, 'raw/g/t'])).output, compressed)
    }),
  )

  test('ends quietly when its reader has enough', TEST, () =>
    withGuest(async (evidence) => {
      for (const args of [
        ['cat', evidence, 'physmem.raw', 'physmem.raw'],
        ['ls', evidence, '-R', '--json'],
      ]) {
        const script = '"$@" | head -c 16; echo " $PIPESTATUS"'
        const { stdout, stderr } = await run('bash', ['-c', script, 'bash', process.execPath, cliPath, ...args])
        assert.match(stdout, / 0\n$/)
        assert.equal(stderr, '')
      }
    }),
  )

  test('says that its output is full: 11', { ...TEST, skip: process.platform !== 'linux' && 'no /dev/full here' }, () =>
    withGuest(async (evidence) => {
      const script = '"$@" > /dev/full'
      const finished = await run('bash', [
        '-c',
        script,
        'bash',
        process.execPath,
        cliPath,
        'cat',
        evidence,
        'physmem.raw',
      ])
      assertRefused(finished, 11, /standard output.*ENOSPC/)
    }),
  )

  test('goes through a hole of 128 GiB in bounded memory', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmss')
      const bytes = pattern(1, 2 * PAGE)
      writeCheckpoint(evidence, {
        groups: [
          { name: 'Checkpoint', tags: [{ name: 'memSize', value: u32(0) }] },
          memoryGroup([
            { address: 0, image: 0, size: PAGE },
            { address: 128 * GIBIBYTE, image: PAGE, size: PAGE },
          ]),
          { name: 'g', tags: [{ name: 't', value: u64(0) }] },
        ],
      })
      writeSparse(vmemOf(evidence), { size: bytes.length, pieces: [{ offset: 0, bytes }] })
      const [memory]: Entry[] = JSON.parse(await output('ls', evidence, '--json', 'physmem.raw'))
      assert.deepEqual([memory?.size, memory?.stored], [128 * GIBIBYTE + PAGE, 2 * PAGE])
      const { child, finished } = start(process.execPath, [cliPath, 'cat', evidence, 'physmem.raw'])
      const most = await new Promise<number>((resolve) => {
        let read = 0
        child.stdout?.on('data', (chunk: Buffer) => {
          read += chunk.length
          if (read > 256 * MEBIBYTE) {
            const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
            child.stdout?.removeAllListeners('data')
            child.stdout?.destroy()
            resolve(Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]) * 1024)
          }
        })
      })
      const { status, stderr } = await finished
      assert.equal(status, 0, stderr)
      assert.ok(most < 200 * MEBIBYTE, `${most} bytes resident`)
    }),
  )
})

function withGuest(body: (evidence: string) => Promise<void>): Promise<void> {
  return temporary((directory) => body(writeGuest(join(directory, 'guest'))))
}

async function output(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runCommand(args)
  assert.equal(status, 0, `${args.join(' ')}: ${stderr}`)
  return stdout
}

async function lines(...args: string[]): Promise<string[]> {
  return (await output(...args)).split('\n').slice(0, -1)
}

function assertRefused({ status, stdout, stderr }: Finished, expected: number, says: RegExp): void {
  assert.equal(status, expected, stderr)
  assert.match(stderr, says)
  assert.doesNotMatch(stderr, /\n {4}at /, 'a stack')
  assert.equal(stdout, '')
}
