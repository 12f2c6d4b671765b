/** The memory dressed for tools, and the CPUs: every field against bytes that were worked out by hand. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import {
  type Directory,
  type File,
  type Guest,
  lookup,
  openCheckpoint,
  planTree,
  read,
  sizeOf,
  storedSizeOf,
} from '../src/index.ts'
import {
  type GroupSpec,
  type TagSpec,
  text,
  u16,
  u32,
  u64,
  writeCheckpoint,
  writeSparse,
} from './support/checkpoint.ts'

const PAGE = 4096
const GIBIBYTE = 2 ** 30

describe('views of the memory', () => {
  let directory = ''
  let count = 0
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'vmssfs-views-'))
  })
  after(() => rmSync(directory, { recursive: true }))

  /** A guest of these regions, which are page numbers of `[address, size]`, packed in a .vmem in which every page has its number. */
  function open(
    regions: readonly [number, number][],
    cpu: TagSpec[] = [],
    more: GroupSpec[] = [],
  ): { guest: Guest; root: Directory } {
    const base = join(directory, `guest${count++}`)
    const memory: TagSpec[] = [{ name: 'regionsCount', value: u32(regions.length) }]
    let page = 0
    for (const [index, [address, size]] of regions.entries()) {
      memory.push({ name: 'regionPageNum', indices: [index], value: u64(page) })
      memory.push({ name: 'regionPPN', indices: [index], value: u64(address) })
      memory.push({ name: 'regionSize', indices: [index], value: u64(size) })
      page += size
    }
    const marked = Math.min(page, 64)
    const pieces = Array.from({ length: marked }, (_, index) => ({
      offset: index * PAGE,
      bytes: Buffer.alloc(PAGE, index + 1),
    }))
    writeSparse(`${base}.vmem`, { size: page * PAGE, pieces })
    writeCheckpoint(`${base}.vmss`, { groups: [{ name: 'memory', tags: memory }, { name: 'cpu', tags: cpu }, ...more] })
    const guest = openCheckpoint(`${base}.vmss`)
    return { guest, root: planTree(guest) }
  }

  const REGIONS = {
    one: [[0, 3]],
    two: [
      [0, 2],
      [16, 3],
    ],
    three: [
      [0, 1],
      [4, 2],
      [0x100000, 1],
    ],
  } satisfies Record<string, [number, number][]>

  for (const [name, regions] of Object.entries(REGIONS) as [string, [number, number][]][]) {
    test(`LiME, ${name} region(s)`, { timeout: 60_000 }, () => {
      const { guest, root } = open(regions)
      const dump = contentsOf(root, 'physmem.lime')
      const expected: Buffer[] = []
      let page = 0
      for (const [address, size] of regions) {
        // Magic, version, first and last address, reserved.
        expected.push(
          Buffer.from('454d694c01000000', 'hex'),
          bytes(u64(address * PAGE)),
          bytes(u64((address + size) * PAGE - 1)),
          Buffer.alloc(8),
        )
        for (let index = 0; index < size; index++) {
          expected.push(Buffer.alloc(PAGE, ++page))
        }
      }
      assert.ok(dump.equals(Buffer.concat(expected)))
      guest.close()
    })

    test(`ELF without CPUs, ${name} region(s)`, { timeout: 60_000 }, () => {
      const { guest, root } = open(regions)
      const core = contentsOf(root, 'physmem.elf')
      const headersEnd = 64 + 56 * (1 + regions.length)
      const header = Buffer.concat([
        Buffer.from('7f454c46020101000000000000000000', 'hex'),
        // ET_CORE, EM_X86_64, version, entry, phoff, shoff, flags.
        ...[u16(4), u16(62), u32(1), u64(0), u64(64), u64(0), u32(0)],
        // ehsize, phentsize, phnum, and no sections.
        ...[u16(64), u16(56), u16(1 + regions.length), u16(0), u16(0), u16(0)],
        // PT_NOTE, flags, offset, vaddr, paddr, filesz, memsz, align.
        ...[u32(4), u32(0), u64(headersEnd), u64(0), u64(0), u64(0), u64(0), u64(0)],
        ...regions.flatMap(([address, size], index) => {
          const offset = PAGE * (1 + regions.slice(0, index).reduce((sum, [, pages]) => sum + pages, 0))
          const at = u64(address * PAGE)
          return [u32(1), u32(0), u64(offset), at, at, u64(size * PAGE), u64(size * PAGE), u64(0)]
        }),
      ])
      assert.equal(core.subarray(0, headersEnd).toString('hex'), header.toString('hex'))
      assert.ok(core.subarray(headersEnd, PAGE).every((byte) => byte === 0))
      assertLoads(root, core)
      assert.match(contentsOf(root, 'meta/problems.txt').toString(), /expected registers of vCPUs.*found none/)
      guest.close()
    })
  }

  test('ELF notes of a long-mode vCPU, byte for byte', { timeout: 60_000 }, () => {
    const { guest, root } = open(REGIONS.two, LONG_MODE)
    const core = contentsOf(root, 'physmem.elf')
    const notes = 64 + 56 * 3
    const status = 12 + 8 + 336
    const note = (name: string, size: number, type: number) =>
      Buffer.concat([u32(5), u32(size), u32(type), text(name, 8)])
    // NT_PRSTATUS: pid at 32, registers at 112.
    assert.deepEqual(core.subarray(notes, notes + 20), note('CORE', 336, 1))
    const prstatus = core.subarray(notes + 20, notes + status)
    assert.equal(prstatus.readUInt32LE(32), 1)
    const inOrder = [15, 14, 13, 12, 5, 3, 11, 10, 9, 8, 0, 1, 2, 6, 7].map((word) => GENERAL[word])
    const [rip, cs, flags, rsp, ss] = [0xffffffff81000123n, 0x10n, 0x246n, GENERAL[4], 0x18n]
    const bases = [0x7f0000000000n, 0xffff888000000000n]
    const expected = [...inOrder, 0n, rip, cs, flags, rsp, ss, ...bases, 0x2bn, 0x2bn, 0n, 0n]
    assert.deepEqual(words(prstatus.subarray(112, 112 + 27 * 8)), expected)
    // QEMU's state: version, size, registers, segments of 24 bytes, control registers, kernel_gs_base.
    const state = core.subarray(notes + status, notes + status + 20 + 440)
    assert.deepEqual(state.subarray(0, 20), note('QEMU', 440, 0))
    const body = state.subarray(20)
    assert.deepEqual([body.readUInt32LE(0), body.readUInt32LE(4)], [1, 440])
    const ofState = [0, 3, 1, 2, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15].map((word) => GENERAL[word])
    assert.deepEqual(words(body.subarray(8, 152)), [...ofState, rip, flags])
    const segment = (at: number) => [
      ...[0, 4, 8, 12].map((field) => body.readUInt32LE(152 + at * 24 + field)),
      body.readBigUInt64LE(152 + at * 24 + 16),
    ]
    assert.deepEqual(segment(0), [0x10, 0xffffffff, 0xaf9b00, 0, 0n])
    assert.deepEqual(segment(3), [0, 0, 0, 0, bases[0]])
    assert.deepEqual(segment(4), [0, 0, 0, 0, bases[1]])
    assert.deepEqual(segment(7), [0x40, 0x67, 0x8b00, 0, 0xfffffe0000003000n])
    assert.deepEqual(segment(8), [0, 0x7f, 0, 0, 0xfffffe0000001000n])
    assert.deepEqual(segment(9), [0, 0xfff, 0, 0, 0xfffffe0000000000n])
    assert.deepEqual(words(body.subarray(392, 440)), [
      0x80050033n,
      0n,
      0x4f0215n,
      0x632c000n,
      0x6f0n,
      0xffff888000001000n,
    ])
    assertLoads(root, core)
    assert.equal(contentsOf(root, 'meta/problems.txt').toString(), '')
    guest.close()
  })

  test('notes stand by kind, then by vCPU, and a 32-bit guest has a 32-bit core', { timeout: 60_000 }, () => {
    const protectedMode = [0, 1].flatMap((cpu): TagSpec[] => [
      { name: 'eax', indices: [cpu], value: u32(0xa0 + cpu) },
      { name: 'eip', indices: [cpu], value: u32(0xc0100000 + cpu) },
      { name: 'CR', indices: [cpu, 0], value: u32(0x80000011) },
      { name: 'CR', indices: [cpu, 3], value: u32(0x187000) },
    ])
    const { guest, root } = open(REGIONS.two, [{ name: 'cpu:numVCPUs', value: u32(2) }, ...protectedMode])
    const core = contentsOf(root, 'physmem.elf')
    assert.deepEqual([core[4], core.readUInt16LE(18), core.readUInt32LE(28), core.readUInt16LE(42)], [1, 3, 52, 32])
    const notes = 52 + 32 * 3
    assert.equal(core.readUInt32LE(52 + 4), notes)
    const names = [0, 164, 2 * 164, 2 * 164 + 460].map((at) =>
      core.subarray(notes + at + 12, notes + at + 16).toString(),
    )
    assert.deepEqual(names, ['CORE', 'CORE', 'QEMU', 'QEMU'])
    for (const cpu of [0, 1]) {
      const status = core.subarray(notes + cpu * 164 + 20, notes + (cpu + 1) * 164)
      assert.equal(status.length, 144)
      assert.deepEqual(
        [24, 72 + 6 * 4, 72 + 12 * 4].map((at) => status.readUInt32LE(at)),
        [cpu + 1, 0xa0 + cpu, 0xc0100000 + cpu],
      )
    }
    // Type, offset, vaddr, paddr, filesz, memsz, flags, align.
    const load = Array.from({ length: 8 }, (_, field) => core.readUInt32LE(52 + 64 + field * 4))
    assert.deepEqual(load, [1, 3 * PAGE, 16 * PAGE, 16 * PAGE, 3 * PAGE, 3 * PAGE, 0, 0])
    guest.close()
  })

  test('past 4 GiB sizes, places and sparseness are right', { timeout: 60_000 }, () => {
    const { guest, root } = open([
      [0, (3 * GIBIBYTE) / PAGE],
      [0x100000, (2 * GIBIBYTE) / PAGE],
    ])
    const sizes = ['physmem.raw', 'physmem.elf', 'physmem.lime'].map((name) => {
      const { extents } = lookup(root, name) as File
      return [sizeOf(extents), storedSizeOf(extents)]
    })
    assert.deepEqual(sizes, [
      [6 * GIBIBYTE, 5 * GIBIBYTE],
      [5 * GIBIBYTE + PAGE, 5 * GIBIBYTE + PAGE],
      [5 * GIBIBYTE + 64, 5 * GIBIBYTE + 64],
    ])
    guest.close()
  })

  test('more regions than an ELF core can list leave it out, and that is said', { timeout: 60_000 }, () => {
    const { guest, root } = open(Array.from({ length: 65_535 }, (_, index) => [2 * index, 1]))
    assert.equal(lookup(root, 'physmem.elf'), undefined)
    assert.match(contentsOf(root, 'meta/problems.txt').toString(), /at most 65534 regions for physmem.elf, found 65535/)
    assert.equal(sizeOf((lookup(root, 'physmem.lime') as File).extents), 65_535 * (PAGE + 32))
    guest.close()
  })

  test('an ARM64 guest keeps the names of its tags', { timeout: 60_000 }, () => {
    const hypervisor: TagSpec = { name: 'hv:ttbrEL1[0]', indices: [0], value: u64(0x80401000) }
    const { guest, root } = open(
      REGIONS.one,
      [hypervisor],
      [{ name: 'Checkpoint', tags: [{ name: 'Platform', value: u32(3) }] }],
    )
    const core = contentsOf(root, 'physmem.elf')
    assert.deepEqual([core.readUInt16LE(18), core.readBigUInt64LE(64 + 32)], [183, 0n])
    const { registers, mode } = JSON.parse(contentsOf(root, 'cpu/0/registers.json').toString())
    assert.deepEqual([registers, mode], [{ 'hv:ttbrEL1[0]': '0x80401000' }, undefined])
    guest.close()
  })

  test('registers for people and for programs', { timeout: 60_000 }, () => {
    const { guest, root } = open(REGIONS.one, LONG_MODE)
    const lines = contentsOf(root, 'cpu/0/registers.txt').toString().split('\n')
    assert.equal(lines[0], 'vCPU 0: long mode, ring 0, halted')
    for (const line of [
      'rsp            0x1004',
      'rflags         0x246               [ PF ZF IF ]',
      'cr0            0x80050033          [ PE MP ET NE WP AM PG ]',
      'cs             0x10   base 0x0 limit 0xffffffff rights 0xaf9b00',
      'idtr           base 0xfffffe0000000000 limit 0xfff',
      'msr 0xc0000103 0x7',
    ]) {
      assert.ok(lines.includes(line), `${line}\nin\n${lines.join('\n')}`)
    }
    const json = JSON.parse(contentsOf(root, 'cpu/0/registers.json').toString())
    assert.deepEqual([json.cpu, json.mode, json.ring, json.halted], [0, 'long', 0, true])
    assert.deepEqual(
      [json.registers.rbp, json.registers.lstar, json.registers.efer],
      ['0x1005', '0xffffffff81800000', '0xd01'],
    )
    assert.deepEqual(json.segments.tr, {
      selector: '0x40',
      base: '0xfffffe0000003000',
      limit: '0x67',
      rights: '0x8b00',
    })
    assert.deepEqual(json.msrs, { '0xc0000103': '0x7' })
    guest.close()
  })

  test('what is wrong with a tag of the CPUs is a problem on one line, and nothing worse', { timeout: 60_000 }, () => {
    const { guest, root } = open(REGIONS.one, [
      { name: 'cpu:numVCPUs', value: u32(1) },
      { name: 'gpregs', indices: [0], block: Buffer.alloc(100) },
      { name: 'CR64', indices: [0], block: Buffer.alloc(24) },
      { name: 'GDTR', indices: [0], compressed: Buffer.alloc(4), sizeInMemory: 10 },
      { name: 'rip', indices: [0], value: u64(1) },
      { name: 'rip', indices: [0], value: u64(2) },
      { name: 'rip', indices: [0], value: u64(1) },
      { name: 'rip', indices: [4_000_000], value: u64(3) },
      { name: 'S', indices: [0, 1], value: u32(0xffff0033) },
    ])
    assert.deepEqual(
      guest.problems.map(({ finding }) => `${finding.expected}: ${finding.found}`),
      [
        '128 bytes of "cpu/gpregs[0]": 100',
        'one value of "cpu/rip[0]": 0x2 behind 0x1, which is used',
        '72 bytes of "cpu/CR64[0]": 24',
        '10 bytes of "cpu/GDTR[0]": a compressed block',
        'tags of vCPUs below 1: those of vCPU 4000000',
      ],
    )
    assert.deepEqual([...(lookup(root, 'cpu') as Directory).entries.keys()], ['0'])
    const { registers, segments } = JSON.parse(contentsOf(root, 'cpu/0/registers.json').toString())
    assert.deepEqual([registers, segments], [{ rip: '0x1' }, { cs: { selector: '0x33' } }])
    guest.close()
  })

  test('the device-mapper table gives the same image', { timeout: 60_000 }, () => {
    const { guest, root } = open(REGIONS.three.slice(0, 2))
    const raw = contentsOf(root, 'physmem.raw')
    const vmem = Buffer.concat([1, 2, 3].map((page) => Buffer.alloc(PAGE, page)))
    const table = contentsOf(root, 'meta/recipes.txt')
      .toString()
      .matchAll(/^ {2}(\d+) (\d+) (linear \$loop (\d+)|zero)$/gm)
    const image = [...table].map(([, , length, , offset]) => {
      const size = Number(length) * 512
      return offset === undefined
        ? Buffer.alloc(size)
        : vmem.subarray(Number(offset) * 512, Number(offset) * 512 + size)
    })
    assert.ok(Buffer.concat(image).equals(raw))
    guest.close()
  })
})

/** gpregs: word n is 0x1000 + n. */
const GENERAL = Array.from({ length: 16 }, (_, word) => 0x1000n + BigInt(word))

const LONG_MODE: TagSpec[] = [
  { name: 'cpu:numVCPUs', value: u32(1) },
  { name: 'eflags', indices: [0], value: u32(0x44) },
  { name: 'EFLAGS', indices: [0], value: u32(0x202) },
  { name: 'rip', indices: [0], value: u64(0xffffffff81000123n) },
  { name: 'halted', indices: [0], value: Buffer.from([1]) },
  { name: 'gpregs', indices: [0], block: Buffer.concat(GENERAL.map(u64)), pad: 3 },
  {
    name: 'CR64',
    indices: [0],
    block: Buffer.concat([0x80050033, 0, 0x4f0215, 0x632c000, 0x6f0, 0, 0, 0, 0].map(u64)),
  },
  { name: 'GDTR', indices: [0], block: Buffer.concat([u16(0x7f), u64(0xfffffe0000001000n)]) },
  ...[0xfff, 0, 0xfffffe00].map(
    (value, k): TagSpec => ({ name: 'IDTR', indices: [0, k], value: k === 0 ? u16(value) : u32(value) }),
  ),
  { name: 'EFER', indices: [0], value: u64(0xd01) },
  { name: 'KERNELGSBASE', indices: [0], value: u64(0xffff888000001000n) },
  { name: 'MSR', indices: [0, 0xc0000103], value: u64(7) },
  { name: 'syscallMSR', indices: [0], block: Buffer.concat([1n, 0xffffffff81800000n, 2n, 0x4700n].map(u64)) },
  ...[
    [0, 0x2b, 0n, 0xffffffff, 0xc0f300],
    [1, 0x10, 0n, 0xffffffff, 0xaf9b00],
    [2, 0x18, 0n, 0xffffffff, 0xcf9300],
    [3, 0x2b, 0n, 0xffffffff, 0xc0f300],
    [4, 0, 0x7f0000000000n, 0, 0],
    [5, 0, 0xffff888000000000n, 0, 0],
    [7, 0x40, 0xfffffe0000003000n, 0x67, 0x8b00],
  ].flatMap(([s, selector, base, limit, rights]): TagSpec[] => [
    { name: 'S', indices: [0, Number(s)], value: u32(Number(selector)) },
    { name: 'S.base64', indices: [0, Number(s)], value: u64(base as bigint) },
    { name: 'S.limit', indices: [0, Number(s)], value: u32(Number(limit)) },
    { name: 'S.rights', indices: [0, Number(s)], value: u32(Number(rights)) },
  ]),
]

/** Every byte of every PT_LOAD is that of physmem.raw at its physical address. */
function assertLoads(root: Directory, core: Buffer): void {
  const raw = (lookup(root, 'physmem.raw') as File).extents
  let end = 0
  for (let header = 64; header < 64 + 56 * core.readUInt16LE(56); header += 56) {
    if (core.readUInt32LE(header) === 1) {
      const [offset, address, size] = [8, 24, 32].map((at) => Number(core.readBigUInt64LE(header + at))) as [
        number,
        number,
        number,
      ]
      const expected = Buffer.alloc(size)
      read(raw, expected, address)
      assert.ok(core.subarray(offset, offset + size).equals(expected), `PT_LOAD at ${address}`)
      end = offset + size
    }
  }
  assert.equal(end, core.length)
}

function contentsOf(root: Directory, path: string): Buffer {
  const node = lookup(root, path)
  assert.ok(node?.kind === 'file', path)
  const target = Buffer.alloc(sizeOf(node.extents))
  read(node.extents, target, 0)
  return target
}

function words(buffer: Buffer): bigint[] {
  return Array.from({ length: buffer.length / 8 }, (_, word) => buffer.readBigUInt64LE(8 * word))
}

function bytes(array: Uint8Array): Buffer {
  return Buffer.from(array)
}
