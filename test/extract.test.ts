/** `vmssfs extract`: files and folders of the tree as new ones on the disk. Nothing is imported from the program. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { u32, writeCheckpoint, writeSparse } from './support/checkpoint.ts'
import {
  CHECKPOINT_TIME,
  CONFIG,
  expectedTree,
  MEMORY_TIME,
  memoryGroup,
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
  cliPath,
  eventually,
  type Finished,
  mountsAt,
  outputOf,
  pattern,
  runCommand,
  start,
  temporary,
} from './support/mount.ts'

const TEST = { timeout: 120_000 }
const GIBIBYTE = 2 ** 30
const MEBIBYTE = 2 ** 20
/** What zeros of the evidence are left out in. */
const BLOCK = 64 * 1024
/** What st_blocks counts in. */
const STAT_BLOCK = 512

const rootSkip = process.getuid?.() !== 0 && 'only root can mount a tmpfs'

describe('a file', () => {
  test('has the bytes, the size and the time of the tree', TEST, () =>
    withGuest(async (evidence, output) => {
      await extracted(evidence, 'physmem.raw', output)
      assert.equal(sha256(readFileSync(output)), sha256(physmem))
      assert.deepEqual(statSync(output).mtime, MEMORY_TIME)
      // Two regions of bytes without a zero block; the hole between them takes nothing.
      const stored = REGIONS[0].size + REGIONS[1].size
      assert.ok(blocksOf(output) <= stored + BLOCK, `${blocksOf(output)} bytes of blocks`)
      assert.ok(blocksOf(output) >= stored, `${blocksOf(output)} bytes of blocks`)
    }),
  )

  test('whatever it is: a number, an empty one, one with brackets, one behind a link', TEST, () =>
    withGuest(async (evidence, output) => {
      const cases: [path: string, bytes: Uint8Array][] = [
        ['groups/cpu/rip[0]', Buffer.from('0xfffff80002c1c0ba\n')],
        ['groups/Checkpoint/nothing', Buffer.alloc(0)],
        ['raw/nvme0:0/rc.begin[0]~2', pattern(5, 600)],
        ['config.vmx', CONFIG],
        ['/Snapshot/cfgFile', CONFIG],
      ]
      for (const [index, [path, bytes]] of cases.entries()) {
        await extracted(evidence, path, output + index)
        assert.deepEqual(readFileSync(output + index), Buffer.from(bytes), path)
        assert.ok(lstatSync(output + index).isFile())
        assert.deepEqual(statSync(output + index).mtime, CHECKPOINT_TIME)
      }
    }),
  )

  test('is sparse where the evidence is zero, and takes what its bytes take', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmss')
      const half = 128 * MEBIBYTE
      const pieces = [
        { offset: 0, bytes: pattern(1, 100) },
        // Across the border of two blocks, and at the very end.
        { offset: 500 * BLOCK - 10, bytes: pattern(2, 20) },
        { offset: 2 * half - 1, bytes: Buffer.from([7]) },
      ]
      const high = { address: GIBIBYTE, image: half, size: half }
      writeCheckpoint(evidence, { groups: [memoryGroup([{ address: 0, image: 0, size: half }, high])] })
      writeSparse(vmemOf(evidence), { size: 2 * half, pieces })
      const output = join(directory, 'out')
      await extracted(evidence, 'physmem.raw', output)
      assert.equal(statSync(output).size, GIBIBYTE + half)
      assert.ok(blocksOf(output) <= 4 * BLOCK + 64 * 1024, `${blocksOf(output)} bytes of blocks`)
      const expected = join(directory, 'expected')
      writeSparse(expected, {
        size: GIBIBYTE + half,
        pieces: pieces.map(({ offset, bytes }) => ({
          offset: offset < half ? offset : offset + GIBIBYTE - half,
          bytes,
        })),
      })
      await outputOf('cmp', [output, expected])
    }),
  )

  test('writes the zeros of a block that has other bytes, at any border', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmss')
      const regions = [
        { address: 3 * PAGE, image: 0, size: 40 * PAGE },
        { address: 100 * PAGE, image: 40 * PAGE, size: 300 * PAGE },
      ]
      const memory = Buffer.alloc(340 * PAGE)
      // One is the last byte of a block of the output, before a block of zeros.
      const offsets = [0, 1, 2 * BLOCK - 1 - 3 * PAGE, BLOCK - 1, BLOCK, 5 * BLOCK + 77, 340 * PAGE - 1]
      for (const [index, offset] of offsets.entries()) {
        memory[offset] = index + 1
      }
      writeCheckpoint(evidence, { groups: [memoryGroup(regions)] })
      writeFileSync(vmemOf(evidence), memory)
      const output = join(directory, 'out')
      await extracted(evidence, 'physmem.raw', output)
      const flat = Buffer.alloc(400 * PAGE)
      for (const { address, image, size } of regions) {
        memory.copy(flat, address, image, image + size)
      }
      assert.equal(readFileSync(output).compare(flat), 0)
    }),
  )

  test('with refused bytes is not left behind: 6, 8', TEST, () =>
    withGuest(async (evidence, output) => {
      truncateSync(vmemOf(evidence), REGIONS[1].image + 10)
      assertRefused(await runCommand(['extract', evidence, 'physmem.raw', output]), 6, /\.vmem at 0x/)
      assert.ok(!existsSync(output))
      const compressed = join(evidence, '../compressed.vmsn')
      const tag = { name: 't', compressed: pattern(1, 100), sizeInMemory: 999 }
      writeCheckpoint(compressed, { groups: [{ name: 'g', tags: [tag] }] })
      assertRefused(await runCommand(['extract', compressed, 'groups/g/t', output]), 8, /compressed/)
      assert.ok(!existsSync(output))
    }),
  )

  test('that does not exist: 4', TEST, () =>
    withGuest(async (evidence, output) => {
      assertRefused(await runCommand(['extract', evidence, 'groups/cpu/rip[9]', output]), 4, /rip\[9\]/)
      assertRefused(await runCommand(['extract', evidence, 'groups/cpu/rip*', output]), 4, /rip\*/)
      assertRefused(await runCommand(['extract', evidence, '', output, 'more']), 2, /argument/)
      assert.ok(!existsSync(output))
    }),
  )
})

describe('a folder', () => {
  test('/ is the whole tree, with its links and times', TEST, () =>
    withGuest(async (evidence, output) => {
      await extracted(evidence, '/', output)
      const tree = await readTree(output)
      // Folders of other views are not told apart by a summary.
      tree.delete('cpu/')
      assert.deepEqual(summary(tree), summary(expectedTree()))
      for (const path of tree.keys()) {
        if (!OTHER_VIEWS.test(path)) {
          const expected = path === 'physmem.raw' ? MEMORY_TIME : CHECKPOINT_TIME
          assert.deepEqual(lstatSync(join(output, path.replace(/\/$/, ''))).mtime, expected, path)
        }
      }
      assert.equal(readlinkSync(join(output, 'config.vmx')), 'groups/Snapshot/cfgFile')
      assert.deepEqual(readFileSync(join(output, 'Snapshot/cfgFile')), CONFIG)
    }),
  )

  test('of the tree is one of its own, also behind a link', TEST, () =>
    withGuest(async (evidence, output) => {
      await extracted(evidence, 'groups/cpu', output)
      const expected = [...expectedTree()].flatMap(([path, bytes]): [string, Buffer][] =>
        /^groups\/cpu\/./.test(path) ? [[path.slice('groups/cpu/'.length), bytes]] : [],
      )
      assert.deepEqual(summary(await readTree(output)), summary(new Map(expected)))
      await extracted(evidence, 'Snapshot/', `${output}2`)
      assert.deepEqual(readdirSync(`${output}2`), ['cfgFile'])
      await extracted(evidence, 'groups/Tools Install', `${output}3`)
      assert.deepEqual(readdirSync(`${output}3`), [])
    }),
  )

  test('leaves out what is refused, says so, and has the rest: 6', TEST, () =>
    withGuest(async (evidence, output) => {
      truncateSync(vmemOf(evidence), REGIONS[1].image + 10)
      const { status, stdout, stderr } = await runCommand(['extract', evidence, '/', output])
      assert.equal(status, 6, stderr)
      assert.equal(stdout, '')
      assert.match(stderr, /^vmssfs: physmem\.raw: .*\.vmem at 0x.* expected/m)
      assert.doesNotMatch(stderr, /\n {4}at /)
      const tree = await readTree(output)
      tree.delete('cpu/')
      const expected = expectedTree()
      expected.delete('physmem.raw')
      assert.deepEqual(summary(tree), summary(expected))
    }),
  )
})

describe('an output', () => {
  test('that exists is left as it is: 2', TEST, () =>
    withGuest(async (evidence, output) => {
      const cases: [what: string, make: () => void][] = [
        ['file', () => writeFileSync(`${output} file`, 'kept')],
        ['folder', () => mkdirSync(`${output} folder`)],
        ['link', () => symlinkSync('nowhere', `${output} link`)],
      ]
      for (const [what, make] of cases) {
        make()
        for (const path of ['physmem.raw', 'groups']) {
          assertRefused(await runCommand(['extract', evidence, path, `${output} ${what}`]), 2, /out (file|folder|link)/)
        }
      }
      assert.equal(readFileSync(`${output} file`, 'utf8'), 'kept')
      assert.deepEqual(readdirSync(`${output} folder`), [])
      assert.equal(readlinkSync(`${output} link`), 'nowhere')
      assert.ok(!existsSync(join(output, '../nowhere')))
    }),
  )

  test('that cannot be created: 11', TEST, () =>
    withGuest(async (evidence, output) => {
      for (const path of ['physmem.raw', 'groups']) {
        assertRefused(await runCommand(['extract', evidence, path, join(output, 'out')]), 11, /out\/out: .*ENOENT/)
      }
      assert.ok(!existsSync(output))
    }),
  )

  test('on a disk that is full is removed: 11', { ...TEST, skip: rootSkip }, () =>
    withGuest(async (evidence, output) => {
      const small = join(output, '../small')
      mkdirSync(small)
      await outputOf('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', small])
      try {
        assert.equal(mountsAt(small).length, 1)
        for (const path of ['physmem.raw', '/']) {
          assertRefused(await runCommand(['extract', evidence, path, join(small, 'out')]), 11, /small\/out.*ENOSPC/)
          assert.deepEqual(readdirSync(small), [])
        }
      } finally {
        await outputOf('umount', [small])
      }
    }),
  )

  test('that a signal ends is removed: 128 and the number of the signal', TEST, () =>
    temporary(async (directory) => {
      // Takes long enough to be interrupted, for all of it is read, and next to no space.
      const evidence = join(directory, 'guest.vmss')
      const size = 256 * GIBIBYTE
      writeCheckpoint(evidence, {
        groups: [
          { name: 'a', tags: [{ name: 'first', value: u32(1) }] },
          memoryGroup([{ address: 0, image: 0, size }]),
        ],
      })
      writeSparse(vmemOf(evidence), { size, pieces: [{ offset: 0, bytes: pattern(1, PAGE) }] })
      for (const [signal, number] of [
        ['SIGINT', 2],
        ['SIGTERM', 15],
        ['SIGHUP', 1],
      ] as const) {
        for (const path of ['physmem.raw', '/']) {
          const output = join(directory, 'out')
          const { child, finished } = start(process.execPath, [cliPath, 'extract', evidence, path, output])
          await eventually('bytes are written', () => existsSync(output) && statSync(output).size > 0)
          child.kill(signal)
          assertRefused(await finished, 128 + number, new RegExp(signal))
          assert.deepEqual(readdirSync(directory).sort(), ['guest.vmem', 'guest.vmss'])
        }
      }
    }),
  )

  test('is all that is written: nothing stands beside the evidence', TEST, () =>
    temporary(async (directory) => {
      const folder = join(directory, 'evidence')
      mkdirSync(folder)
      const evidence = writePoweredOff(folder)
      const before = sha256(readFileSync(evidence))
      chmodSync(folder, 0o555)
      await extracted(evidence, '/', join(directory, 'out'))
      assert.deepEqual(readdirSync(folder), ['off.vmsn'])
      assert.deepEqual(readdirSync(directory).sort(), ['evidence', 'out'])
      assert.equal(sha256(readFileSync(evidence)), before)
    }),
  )
})

function withGuest(body: (evidence: string, output: string) => Promise<void>): Promise<void> {
  return temporary((directory) => body(writeGuest(join(directory, 'guest')), join(directory, 'out')))
}

async function extracted(evidence: string, path: string, output: string): Promise<void> {
  const { status, stdout, stderr } = await runCommand(['extract', evidence, path, output])
  assert.equal(status, 0, stderr)
  assert.equal(stdout, '')
}

function blocksOf(path: string): number {
  return statSync(path).blocks * STAT_BLOCK
}

function assertRefused({ status, stdout, stderr }: Finished, expected: number, says: RegExp): void {
  assert.equal(status, expected, stderr)
  assert.match(stderr, says)
  assert.doesNotMatch(stderr, /\n {4}at /, 'a stack')
  assert.equal(stdout, '')
}
