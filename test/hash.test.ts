/** `vmssfs hash`, against what coreutils make of the same bytes. Nothing is imported from the program. */
import assert from 'node:assert/strict'
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { writeCheckpoint, writeSparse } from './support/checkpoint.ts'
import {
  expectedTree,
  memoryAt,
  memoryGroup,
  PAGE,
  physmem,
  REGIONS,
  sha256,
  vmemOf,
  writeGuest,
  writePoweredOff,
} from './support/guest.ts'
import { type Finished, outputOf, pattern, runCommand, temporary } from './support/mount.ts'

const TEST = { timeout: 120_000 }
const MEBIBYTE = 2 ** 20

describe('digests', () => {
  test('of physmem.raw, unless other paths are given', TEST, () =>
    withGuest(async (evidence, directory) => {
      const file = join(directory, 'physmem.raw')
      writeFileSync(file, physmem)
      const expected = await blockOf('physmem.raw', file)
      assert.equal(await output('hash', evidence), expected)
      assert.equal(await output('hash', evidence, '/physmem.raw'), expected)
    }),
  )

  test('of a large file with holes, on threads', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmss')
      const regions = [
        { address: PAGE, image: 0, size: 5000 * PAGE },
        { address: 9000 * PAGE, image: 5000 * PAGE, size: 4001 * PAGE },
      ]
      const image = pattern(1, 9001 * PAGE)
      writeCheckpoint(evidence, { groups: [memoryGroup(regions)] })
      writeFileSync(vmemOf(evidence), image)
      const file = join(directory, 'flat')
      writeFileSync(file, memoryAt(regions, image))
      assert.ok(13_001 * PAGE > 48 * MEBIBYTE)
      assert.equal(await output('hash', evidence), await blockOf('physmem.raw', file))
      for (const algorithm of ['md5', 'sha1', 'sha256']) {
        const [digest] = (await outputOf(`${algorithm}sum`, [file])).split(' ')
        assert.equal(await output('hash', evidence, '--sums', algorithm), `${digest}  physmem.raw\n`)
        assert.match(
          await output('hash', evidence, '--only', algorithm),
          new RegExp(`^physmem.*\n +\\S+ +${digest}\n$`),
        )
      }
    }),
  )

  test('of every file of the tree, in its order, each once', TEST, () =>
    withGuest(async (evidence) => {
      const stdout = await output(
        'hash',
        evidence,
        '--sums',
        'sha256',
        'groups',
        'raw',
        'groups/cpu/*',
        'screenshot.png',
      )
      const files = [...expectedTree()].filter(([path]) => /^(groups|raw)\/.*[^/]$/.test(path))
      files.push(...[...expectedTree()].filter(([path]) => path === 'screenshot.png'))
      const expected = files.map(([path, bytes]) => `${sha256(bytes)}  ${path}`)
      assert.deepEqual(stdout.split('\n').slice(0, -1).sort(), expected.sort())
    }),
  )

  test('are called by the paths that were given, also behind links', TEST, () =>
    withGuest(async (evidence) => {
      const stdout = await output('hash', evidence, '--sums', 'md5', 'config.vmx', 'Snapshot', 'groups/Snap*/cfg*')
      assert.deepEqual(stdout.match(/ {2}.*$/gm), ['  config.vmx', '  Snapshot/cfgFile', '  groups/Snapshot/cfgFile'])
    }),
  )

  test('of a folder leave out what differs in each run, unless it is named', TEST, () =>
    withGuest(async (evidence, directory) => {
      const list = join(directory, 'list')
      writeFileSync(list, await output('hash', evidence, '--sums', 'md5', '/'))
      assert.doesNotMatch(await output('hash', evidence, '--check', list), /provenance|FAILED/)
      assert.match(await output('hash', evidence, '--sums', 'md5', 'meta/provenance.json'), /provenance/)
    }),
  )

  test('are refused for a part of a file, and the rest is done: 6', TEST, () =>
    withGuest(async (evidence) => {
      truncateSync(vmemOf(evidence), REGIONS[1].image + 10)
      assertRefused(await runCommand(['hash', evidence]), 6, /^vmssfs: physmem\.raw: .*\.vmem at 0x/m)
      const args = ['hash', evidence, '--sums', 'sha256', 'physmem.raw', 'groups/usb/first']
      const { status, stdout } = await runCommand(args)
      assert.equal(status, 6)
      assert.equal(stdout, `${sha256(Buffer.from('0x1\n'))}  groups/usb/first\n`)
    }),
  )

  test('of what does not exist: 4', TEST, () =>
    temporary(async (directory) => {
      const evidence = writePoweredOff(directory)
      assertRefused(await runCommand(['hash', evidence]), 4, /physmem\.raw.*\n.*ls /)
      assertRefused(await runCommand(['hash', evidence, 'config.vmx', 'groups/nothing']), 4, /groups\/nothing/)
    }),
  )

  test('are asked for in ways that can be meant: 2', TEST, () =>
    withGuest(async (evidence) => {
      for (const args of [
        ['--only', 'sha512'],
        ['--sums', ''],
        ['--only', 'md5', '--sums', 'md5'],
        ['--check', evidence, '/'],
      ]) {
        assertRefused(await runCommand(['hash', evidence, ...args]), 2, /sha512|algorithm|both|--check/)
      }
    }),
  )
})

describe('lists of digests', () => {
  test('can be checked by coreutils in the tree', TEST, () =>
    withGuest(async (evidence, directory) => {
      const tree = join(directory, 'tree')
      await output('extract', evidence, '/', tree)
      for (const algorithm of ['md5', 'sha1', 'sha256']) {
        const list = join(directory, algorithm)
        const paths = ['physmem.raw', 'groups', 'raw', 'config.vmx']
        writeFileSync(list, await output('hash', evidence, '--sums', algorithm, ...paths))
        await outputOf(`${algorithm}sum`, ['--check', '--strict', '--quiet', list], { cwd: tree })
      }
    }),
  )

  test('escape names as coreutils do, both ways', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmsn')
      const names = ['back\\slash', 'back\\nslash', 'a  b', '*star', 'plain']
      const tags = names.map((name) => ({ name, value: Buffer.from(`the value of ${name}`) }))
      writeCheckpoint(evidence, { groups: [{ name: 'g', tags }] })
      const tree = join(directory, 'tree')
      await output('extract', evidence, '/', tree)
      const ours = await output('hash', evidence, '--sums', 'sha256', 'groups/g')
      const theirs = await outputOf('sha256sum', ['--', ...names.map((name) => `groups/g/${name}`)], { cwd: tree })
      assert.equal(ours, theirs)
      assert.ok(ours.startsWith('\\'))
      const binary = await outputOf('sha1sum', ['--binary', '--', ...names.map((name) => `groups/g/${name}`)], {
        cwd: tree,
      })
      const list = join(directory, 'list')
      writeFileSync(list, theirs + binary)
      const checked = await output('hash', evidence, '--check', list)
      assert.equal(checked.match(/: OK$/gm)?.length, 2 * names.length)
      assert.match(checked, /^\\?groups\/g\/back\\\\slash: OK$/m)
    }),
  )

  test('are checked, of any of the algorithms: 10 if a digest does not match', TEST, () =>
    withGuest(async (evidence, directory) => {
      const list = join(directory, 'list')
      const check = (text: string) => {
        writeFileSync(list, text)
        return runCommand(['hash', evidence, '--check', list])
      }
      const sums = (
        await Promise.all(
          ['sha256', 'md5', 'sha1'].map((algorithm) =>
            output('hash', evidence, '--sums', algorithm, 'physmem.raw', 'groups/usb'),
          ),
        )
      ).join('')
      const good = await check(sums)
      assert.equal(good.status, 0, good.stderr)
      assert.equal(good.stdout, 'physmem.raw: OK\n'.repeat(3) + 'groups/usb/first: OK\n'.repeat(3))
      assert.equal((await check(sums.replace(/^\w+/gm, (digest) => digest.toUpperCase()))).status, 0)
      assert.equal((await check(sums.replace(/^(\w+)/, (digest) => 'f'.repeat(digest.length)))).status, 10)

      const one = `${sha256(Buffer.from('0x1\n'))}  groups/usb/first\n`
      const other = `${sha256(Buffer.from('0x2\n'))}  groups/usb/first\n`
      const bad = await check(one + other)
      assert.equal(bad.status, 10)
      assert.equal(bad.stdout, 'groups/usb/first: OK\ngroups/usb/first: FAILED\n')
      assert.match(bad.stderr, /1 of 2/)

      const absent = one.replace('first', 'second')
      const missing = await check(absent + one)
      assert.equal(missing.status, 4)
      assert.equal(missing.stdout, 'groups/usb/second: FAILED open or read\ngroups/usb/first: OK\n')
      assert.match(missing.stderr, /groups\/usb\/second/)
      // That something is wrong matters more than that something is missing.
      assert.equal((await check(absent + other)).status, 10)
      assert.equal((await check(one.replace('usb/first', 'usb'))).status, 4)
    }),
  )

  test('are read strictly: 2', TEST, () =>
    withGuest(async (evidence, directory) => {
      const list = join(directory, 'list')
      const line = `${sha256()}  physmem.raw\n`
      for (const text of ['', 'no digest\n', line + line.slice(1), `${line}\n`, line.replace('  ', ' ')]) {
        writeFileSync(list, text)
        assertRefused(await runCommand(['hash', evidence, '--check', list]), 2, /list.*expected/)
      }
      assertRefused(await runCommand(['hash', evidence, '--check', join(directory, 'nowhere')]), 2, /nowhere/)
    }),
  )

  test('that name a file with refused bytes do not pass: 6', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'evidence', 'guest.vmss')
      mkdirSync(dirname(evidence))
      const size = 64 * MEBIBYTE
      writeCheckpoint(evidence, { groups: [memoryGroup([{ address: 0, image: 0, size }])] })
      writeSparse(vmemOf(evidence), { size: size - PAGE, pieces: [] })
      const list = join(directory, 'list')
      writeFileSync(list, `${sha256(Buffer.alloc(size))}  physmem.raw\n`)
      const { status, stdout, stderr } = await runCommand(['hash', evidence, '--check', list])
      assert.equal(status, 6, stderr)
      assert.equal(stdout, 'physmem.raw: FAILED open or read\n')
    }),
  )
})

function withGuest(body: (evidence: string, directory: string) => Promise<void>): Promise<void> {
  return temporary((directory) => body(writeGuest(join(directory, 'guest')), directory))
}

/** What is printed for a file, by coreutils' digests of another one with the same bytes. */
async function blockOf(path: string, file: string): Promise<string> {
  const digests = await Promise.all(
    ['md5sum', 'sha1sum', 'sha256sum'].map(async (program) => (await outputOf(program, [file])).split(' ')[0]),
  )
  const [size] = (await outputOf('stat', ['-c', '%s', file])).split('\n')
  return `${path}, ${size} bytes\n  MD5     ${digests[0]}\n  SHA-1   ${digests[1]}\n  SHA-256 ${digests[2]}\n`
}

async function output(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runCommand(args)
  assert.equal(status, 0, `${args.join(' ')}: ${stderr}`)
  return stdout
}

function assertRefused({ status, stdout, stderr }: Finished, expected: number, says: RegExp): void {
  assert.equal(status, expected, stderr)
  assert.match(stderr, says)
  assert.doesNotMatch(stderr, /\n {4}at /, 'a stack')
  assert.equal(stdout, '')
}
