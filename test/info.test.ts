/** What the command says of a guest on one screen, and as JSON. */
import assert from 'node:assert/strict'
import { existsSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  type CheckpointSpec,
  type GroupSpec,
  type TagSpec,
  text,
  u8,
  u32,
  u64,
  writeCheckpoint,
  writeSparse,
} from './support/checkpoint.ts'
import { pattern, runCommand, temporary } from './support/mount.ts'

const TEST = { timeout: 60_000 }
const TOP = fileURLToPath(new URL('../../', import.meta.url))
const SAMPLES = resolve(TOP, process.env['VMSSFS_SAMPLES'] ?? '../shared/samples')

const PAGE = 4096
const MEBIBYTE = 2 ** 20
const CHECKPOINT_TIME = new Date('2011-03-13T07:06:40.500Z')
const MEMORY_TIME = new Date('2010-02-12T06:05:30Z')

/** 2016-06-21, in the seconds of MStats. */
const [POWERED_ON, SUSPENDED] = [1_466_499_662, 1_466_505_450]

/** A screen of one black pixel. */
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==',
  'base64',
)

const PRODUCT: GroupSpec = {
  name: 'Checkpoint',
  tags: [
    { name: 'ProductName', block: text('VMware Player', 256) },
    { name: 'VersionNumber', block: text('16.2.4', 256) },
    { name: 'BuildNumber', block: text('build-20089737', 256) },
    { name: 'memSize', value: u32(2) },
  ],
}

const TIMES: GroupSpec = {
  name: 'MStats',
  tags: [
    { name: 'vm.powerOnTimeStamp.clientData', indices: [0, 0], value: u64(POWERED_ON) },
    { name: 'vm.suspendTime.clientData', indices: [0, 0], value: u64(0) },
    { name: 'vm.suspendTime.clientData', indices: [0, 0], value: u64(SUSPENDED) },
  ],
}

const CONFIGURATION: GroupSpec = {
  name: 'Snapshot',
  tags: [
    {
      name: 'cfgFile',
      block: Buffer.from(
        '.encoding = "windows-1252"\ndisplayName = "M\xfcller |22x|22"\nguestos = "other"\n',
        'latin1',
      ),
    },
  ],
}

const region = (index: number, image: number, address: number, pages: number): TagSpec[] => [
  { name: 'regionPageNum', indices: [index], value: u64(image) },
  { name: 'regionPPN', indices: [index], value: u64(address) },
  { name: 'regionSize', indices: [index], value: u64(pages) },
]

const memory = (...regions: [image: number, address: number, pages: number][]): GroupSpec => ({
  name: 'memory',
  tags: [
    { name: 'regionsCount', value: u32(regions.length) },
    ...regions.flatMap(([image, address, pages], index) => region(index, image, address, pages)),
  ],
})

/** Both generations of tags: vCPU 0 has blocks, vCPU 1 an item a register, vCPU 2 the low halves. */
const CPUS: GroupSpec = {
  name: 'cpu',
  tags: [
    { name: 'cpu:numVCPUs', value: u32(3) },
    { name: 'rip', indices: [0], value: u64(0xffff_f800_02c1_c0ban) },
    { name: 'CR64', indices: [0], block: Buffer.concat([1, 2, 3, 0x1_1234_5000, 5, 6, 7, 8, 9].map(u64)) },
    { name: 'CR', indices: [0, 3], value: u32(0x1234_5000) },
    { name: 'rip', indices: [1], value: u64(0x7796_1e3a) },
    { name: 'CR64', indices: [1, 0], value: u64(0x8005_0031) },
    { name: 'CR64', indices: [1, 3], value: u64(0x1_2d4f_7000) },
    { name: 'CR', indices: [1, 3], value: u32(0x2d4f_7000) },
    { name: 'CR', indices: [2, 2], value: u32(1) },
    { name: 'CR', indices: [2, 3], value: u32(0x18_7000) },
  ],
}

const SCREEN: GroupSpec = { name: 'MKSVMX', tags: [{ name: 'imageData', block: PNG }] }

describe('a guest that has everything', () => {
  const spec = { groups: [PRODUCT, CPUS, memory([0, 0, 192], [192, 0x10_0000, 320]), TIMES, CONFIGURATION, SCREEN] }

  test('as JSON', TEST, () =>
    withGuest(spec, async (evidence, directory) => {
      const vmem = addMemory(evidence, 2 * MEBIBYTE)
      const { provenance, ...info } = await infoOf([evidence, '--case', '17/4'])
      assert.deepEqual(info, {
        evidence: [
          {
            path: evidence,
            role: 'checkpoint',
            size: info.evidence[0].size,
            modified: CHECKPOINT_TIME.toISOString(),
          },
          { path: vmem, role: 'memory', size: 2 * MEBIBYTE, modified: MEMORY_TIME.toISOString() },
        ],
        checkpoint: { magic: '0xbed2bed2', state: 'NORMAL', version: 8, groups: 6, tags: 26 },
        product: { name: 'VMware Player', version: '16.2.4', build: 'build-20089737' },
        machine: { displayName: 'Müller "x"', guestOS: 'other' },
        times: {
          poweredOn: '2016-06-21T09:01:02.000Z',
          suspended: '2016-06-21T10:37:30.000Z',
          modified: CHECKPOINT_TIME.toISOString(),
        },
        memSize: 2 * MEBIBYTE,
        memory: {
          size: 2 * MEBIBYTE,
          stored: 2 * MEBIBYTE,
          kind: 'companion',
          file: vmem,
          offset: 0,
          passthrough: false,
          assumption: null,
        },
        memoryMap: [
          { address: '0x0', size: 192 * PAGE, kind: 'memory', file: vmem, offset: 0 },
          { address: '0xc0000', size: 2 ** 32 - 192 * PAGE, kind: 'hole' },
          { address: '0x100000000', size: 320 * PAGE, kind: 'memory', file: vmem, offset: 192 * PAGE },
        ],
        architecture: 'x86',
        cpuCount: 3,
        cpus: [
          { number: 0, mode: 'protected', rip: '0xfffff80002c1c0ba', rsp: null, cr3: '0x112345000' },
          { number: 1, mode: 'protected, 32-bit paging', rip: '0x77961e3a', rsp: null, cr3: '0x12d4f7000' },
          { number: 2, mode: null, rip: null, rsp: null, cr3: '0x187000' },
        ],
        screenshot: { width: 1, height: 1, size: PNG.length },
        problems: [],
        notes: [],
      })
      assert.equal(provenance.case, '17/4')
      assert.ok(directory)
    }),
  )

  test('on a screen', TEST, () =>
    withGuest(spec, async (evidence) => {
      const vmem = addMemory(evidence, 2 * MEBIBYTE)
      const [first = '', ...lines] = (await screenOf([evidence])).split('\n')
      assert.match(first, new RegExp(`^Evidence +${evidence} +\\d+ bytes +checkpoint$`))
      assert.deepEqual(lines, [
        `              ${vmem}  2 MiB (2097152 bytes)  memory`,
        'Checkpoint    NORMAL (magic 0xbed2bed2), format version 8, 6 groups, 26 tags',
        'Product       VMware Player 16.2.4 build-20089737',
        'Machine       Müller "x"',
        'Guest OS      other',
        'Powered on    2016-06-21 09:01:02 UTC, by the clock of its host',
        'Suspended     2016-06-21 10:37:30 UTC, by the clock of its host',
        'Modified      2011-03-13 07:06:40 UTC, the time of the file, which a copy may not have kept',
        'Memory        2 MiB (2097152 bytes), in guest.vmem',
        '              00000000-000bffff : RAM, guest.vmem from 0x0',
        '              000c0000-ffffffff : hole, zero by definition, no evidence',
        '              100000000-10013ffff : RAM, guest.vmem from 0xc0000',
        'vCPUs         3, x86',
        '              0  protected                 RIP 0xfffff80002c1c0ba  RSP -  CR3 0x112345000',
        '              1  protected, 32-bit paging  RIP 0x77961e3a          RSP -  CR3 0x12d4f7000',
        '              2                            RIP -                   RSP -  CR3 0x187000',
        'Screenshot    PNG, 1x1, 67 bytes',
        'Problems      none',
        'Notes         none',
      ])
    }),
  )
})

describe('a guest that lacks', () => {
  test('everything', TEST, () =>
    withGuest({ groups: [] }, async (evidence) => {
      const { provenance, evidence: files, ...info } = await infoOf([evidence])
      assert.equal(files.length, 1)
      assert.ok(provenance)
      assert.deepEqual(info, {
        checkpoint: { magic: '0xbed2bed2', state: 'NORMAL', version: 8, groups: 0, tags: 0 },
        product: { name: null, version: null, build: null },
        machine: { displayName: null, guestOS: null },
        times: { poweredOn: null, suspended: null, modified: CHECKPOINT_TIME.toISOString() },
        memSize: null,
        memory: null,
        memoryMap: [],
        architecture: 'x86',
        cpuCount: null,
        cpus: [],
        screenshot: null,
        problems: [],
        notes: [],
      })
      const screen = await screenOf([evidence])
      for (const line of [
        /^Product +not stated$/m,
        /^Memory +none in this checkpoint$/m,
        /^vCPUs +not stated, no registers$/m,
        /^Screenshot +none$/m,
      ]) {
        assert.match(screen, line)
      }
      assert.doesNotMatch(screen, /Suspended|Powered/)
    }),
  )

  test('a checkpoint: memory alone', TEST, () =>
    temporary(async (directory) => {
      const vmem = join(directory, 'guest.vmem')
      writeFileSync(vmem, pattern(1, PAGE))
      const info = await infoOf([vmem])
      assert.deepEqual([info.checkpoint, info.product, info.machine, info.architecture], [null, null, null, null])
      assert.deepEqual(
        info.evidence.map(({ role }: { role: string }) => role),
        ['memory'],
      )
      assert.deepEqual([info.memory.size, info.memory.passthrough], [PAGE, true])
      assert.match(info.memory.assumption, /address 0/)
      assert.equal(info.notes.length, 2)
      const screen = await screenOf([vmem])
      assert.match(screen, /^Checkpoint +none, this is memory alone$/m)
      assert.match(screen, /^Memory +4096 bytes, in guest\.vmem, byte for byte: passthrough is possible$/m)
      assert.match(screen, /^Notes +\S+guest\.vmem: no \.vmss or \.vmsn is beside it/m)
    }),
  )

  test('its .vmem: 5, or nothing of it with --no-memory', TEST, () =>
    withGuest({ groups: [PRODUCT, memory()] }, async (evidence) => {
      const { status, stdout, stderr } = await runCommand(['info', evidence])
      assert.deepEqual([status, stdout], [5, ''])
      assert.match(stderr, /--no-memory/)
      assert.equal((await infoOf([evidence, '--no-memory'])).memory, null)
      const screen = await screenOf([evidence, '--no-memory'])
      assert.match(screen, /^Memory +left out, the machine had 2 MiB \(2097152 bytes\)$/m)
    }),
  )

  test('part of its .vmem: what is missing is in the map, and a problem', TEST, () =>
    withGuest({ groups: [PRODUCT, CPUS, memory()] }, async (evidence) => {
      const vmem = addMemory(evidence, MEBIBYTE)
      const info = await infoOf([evidence])
      assert.deepEqual([info.memory.size, info.memory.stored], [2 * MEBIBYTE, MEBIBYTE])
      assert.deepEqual(
        info.memoryMap.map(({ kind }: { kind: string }) => kind),
        ['memory', 'refused'],
      )
      assert.equal(info.problems.length, 1)
      const { message, ...problem } = info.problems[0]
      assert.deepEqual([problem.code, problem.file, problem.offset], ['damaged', vmem, null])
      assert.equal(message, `${vmem}: expected ${problem.expected}, found ${problem.found}`)
      assert.match(
        await screenOf([evidence]),
        /^Problems +\S+guest\.vmem: expected .*2097152 bytes.*found 1048576 bytes/m,
      )
    }),
  )

  test('the end of its screenshot, its texts and its configuration', TEST, () =>
    withGuest({ groups: [SCREEN] }, async (evidence, _directory, placed) => {
      truncateSync(evidence, (placed[0]?.offset ?? 0) + 20)
      const info = await infoOf([evidence])
      assert.deepEqual(info.screenshot, { width: null, height: null, size: PNG.length })
      assert.match(await screenOf([evidence]), /^Screenshot +PNG, of unknown dimensions/m)
    }),
  )
})

describe('hostile numbers', () => {
  test('vCPUs beyond all machines take no time and no room', TEST, () =>
    withGuest(
      {
        groups: [
          {
            name: 'cpu',
            tags: [
              { name: 'cpu:numVCPUs', value: u32(0xffff_ffff) },
              { name: 'rip', indices: [4_000_000], value: u64(1) },
              { name: 'rip', indices: [0xffff_ffff], value: u64(2) },
              { name: 'rip', indices: [0], value: u64(3) },
            ],
          },
        ],
      },
      async (evidence) => {
        const info = await infoOf([evidence], { limit: 15_000 })
        assert.equal(info.cpuCount, 0xffff_ffff)
        assert.deepEqual(info.cpus, [{ number: 0, mode: null, rip: '0x3', rsp: null, cr3: null }])
        assert.match(await screenOf([evidence]), /^vCPUs +4294967295, x86\n +0 +RIP 0x3 {2}RSP - {2}CR3 -$/m)
      },
    ),
  )

  test('a count and registers of odd widths', TEST, () =>
    withGuest(
      {
        groups: [
          {
            name: 'cpu',
            tags: [
              { name: 'cpu:numVCPUs', value: u64(0xffff_ffff_ffff_ffffn) },
              { name: 'rip', indices: [0], value: u64(5) },
              { name: 'CR64', indices: [0], block: pattern(1, 24) },
              { name: 'CR', indices: [0, 3], value: u32(0x1000) },
            ],
          },
        ],
      },
      async (evidence) => {
        const info = await infoOf([evidence])
        assert.equal(info.cpuCount, null)
        assert.deepEqual(info.cpus, [{ number: 0, mode: null, rip: '0x5', rsp: null, cr3: '0x1000' }])
      },
    ),
  )

  test('times that cannot be', TEST, () => {
    const time = (value: Uint8Array): TagSpec => ({ name: 'vm.suspendTime.clientData', indices: [0, 0], value })
    const tags = [time(u8(1)), time(u64(1)), time(u64(0xffff_ffff_ffff_ffffn)), time(Buffer.from([1, 2, 3]))]
    return withGuest({ groups: [{ name: 'MStats', tags }] }, async (evidence) => {
      assert.equal((await infoOf([evidence])).times.suspended, null)
    })
  })

  test('a picture of no dimensions', TEST, () => {
    const head = Buffer.from(PNG)
    head.writeUInt32BE(0xffff_ffff, 16)
    const noHeader = Buffer.from(PNG)
    noHeader.write('tEXt', 12)
    return withGuest({ groups: [{ name: 'MKSVMX', tags: [{ name: 'imageData', block: head }] }] }, async (evidence) => {
      assert.deepEqual((await infoOf([evidence])).screenshot, { width: 0xffff_ffff, height: 1, size: PNG.length })
      writeCheckpoint(evidence, { groups: [{ name: 'MKSVMX', tags: [{ name: 'imageData', block: noHeader }] }] })
      assert.deepEqual((await infoOf([evidence])).screenshot, { width: null, height: null, size: PNG.length })
    })
  })
})

test('texts act on no terminal, and fill no screen', TEST, () => {
  const nasty = `\x1b[2J\u202e\r\n${'x'.repeat(100_000)}`
  const checkpoint = ['ProductName', 'VersionNumber', 'BuildNumber'].map((name) => ({ name, block: text(nasty) }))
  const settings = text(`displayName = "|1b[2J${'y'.repeat(100_000)}"\nguestOS = "\u202e${'z'.repeat(100_000)}"\n`)
  const spec = {
    groups: [
      { name: 'Checkpoint', tags: checkpoint },
      { name: 'Snapshot', tags: [{ name: 'cfgFile', block: settings }] },
    ],
  }
  return withGuest(spec, async (evidence) => {
    const screen = await screenOf([evidence])
    assert.doesNotMatch(screen, /(?!\n)[\p{Cc}\p{Cf}]/u)
    assert.ok(screen.split('\n').every((line) => line.length < 400))
    assert.match(screen, /^Product +\\x1b\[2J\\u\{202e\}\\x0d\\x0ax+\.\.\. /m)
    const { stdout } = await runCommand(['info', '--json', evidence])
    assert.doesNotMatch(stdout, /(?!\n)[\p{Cc}\p{Cf}]/u)
    const info = JSON.parse(stdout)
    assert.equal(info.product.name, Buffer.from(nasty).toString().slice(0, info.product.name.length))
    assert.ok(Buffer.byteLength(info.product.name) <= 4096 && info.product.name.length > 4000)
    assert.equal(info.machine.displayName, `\x1b[2J${'y'.repeat(4092)}`)
  })
})

test('of many things the first eight are shown, and all of them are in the JSON', TEST, () => {
  const count = 40
  const cpus = Array.from({ length: count }, (_, cpu): TagSpec => ({ name: 'rip', indices: [cpu], value: u64(cpu) }))
  const regions = Array.from({ length: count }, (_, index): [number, number, number] => [index, 2 * index, 1])
  // Each of these names another region than regionsCount counts, which is a problem each.
  const spare = Array.from(
    { length: count },
    (_, index): TagSpec => ({
      name: 'regionSize',
      indices: [1000 + index],
      value: u64(1),
    }),
  )
  const group = memory(...regions)
  const spec = {
    groups: [
      { name: 'cpu', tags: [{ name: 'cpu:numVCPUs', value: u32(count) }, ...cpus] },
      { ...group, tags: [...group.tags, ...spare] },
    ],
  }
  return withGuest(spec, async (evidence) => {
    addMemory(evidence, count * PAGE)
    const screen = (await screenOf([evidence])).split('\n')
    assert.ok(screen.length <= 40, `${screen.length} lines`)
    const map = screen.findIndex((line) => line.startsWith('Memory'))
    assert.match(screen[map + 8] ?? '', /^ +00007000-00007fff : hole/)
    assert.match(screen[map + 9] ?? '', new RegExp(`^ +and ${2 * count - 1 - 8} more$`))
    const cpu = screen.findIndex((line) => line.startsWith('vCPUs'))
    assert.match(screen[cpu + 8] ?? '', /^ +7 +RIP 0x7 {2}RSP - {2}CR3 -$/)
    assert.match(screen[cpu + 9] ?? '', new RegExp(`^ +and ${count - 8} more$`))
    const info = await infoOf([evidence])
    assert.equal(info.memoryMap.length, 2 * count - 1)
    assert.equal(info.cpus.length, count)
    const problems = screen.findIndex((line) => line.startsWith('Problems'))
    assert.ok(info.problems.length > count)
    assert.match(screen[problems + 4] ?? '', new RegExp(`^ +and ${info.problems.length - 4} more$`))
  })
})

describe('genuine files', { skip: existsSync(SAMPLES) ? false : `there are no genuine files in ${SAMPLES}` }, () => {
  test('player12-suspend.vmss', TEST, async () => {
    const info = await infoOf([join(SAMPLES, 'player12-suspend.vmss'), '--no-memory'])
    assert.deepEqual(info.checkpoint, { magic: '0xbed2bed2', state: 'NORMAL', version: 8, groups: 93, tags: 4195 })
    assert.deepEqual(info.product, { name: 'VMware Player', version: '12.1.1', build: 'build-3770994' })
    assert.deepEqual(info.machine, { displayName: 'PIaNOS', guestOS: 'other' })
    assert.equal(info.times.poweredOn, '2016-06-21T09:01:02.000Z')
    assert.equal(info.times.suspended, '2016-06-21T10:37:30.000Z')
    assert.equal(info.memSize, 64 * MEBIBYTE)
    assert.deepEqual(
      [info.cpuCount, info.cpus],
      [1, [{ number: 0, mode: 'real', rip: '0x25b2', rsp: '0x3da', cr3: '0x0' }]],
    )
    assert.deepEqual(info.screenshot, { width: 720, height: 400, size: 3469 })
    assert.deepEqual(info.problems, [])
  })

  test('powered-off.vmsn', TEST, async () => {
    const info = await infoOf([join(SAMPLES, 'powered-off.vmsn')])
    assert.deepEqual(info.machine, { displayName: 'SIFT-Workstation', guestOS: 'ubuntu-64' })
    assert.deepEqual([info.memory, info.cpus, info.screenshot], [null, [], null])
    assert.deepEqual(info.problems, [])
  })
})

function withGuest(
  spec: CheckpointSpec,
  body: (evidence: string, directory: string, placed: ReturnType<typeof writeCheckpoint>) => Promise<void>,
): Promise<void> {
  return temporary((directory) => {
    const evidence = join(directory, 'guest.vmss')
    const placed = writeCheckpoint(evidence, spec)
    utimesSync(evidence, CHECKPOINT_TIME, CHECKPOINT_TIME)
    return body(evidence, directory, placed)
  })
}

/** Writes the .vmem of a checkpoint, which is a hole, and answers its path. */
function addMemory(evidence: string, size: number): string {
  const vmem = evidence.replace(/vmss$/, 'vmem')
  writeSparse(vmem, { size, pieces: [] })
  utimesSync(vmem, MEMORY_TIME, MEMORY_TIME)
  return vmem
}

// biome-ignore lint/suspicious/noExplicitAny: what is in the JSON is what the tests are about
async function infoOf(args: readonly string[], options: { limit?: number } = {}): Promise<any> {
  const { status, stdout, stderr } = await runCommand(['info', '--json', ...args], options)
  assert.equal(status, 0, stderr)
  assert.equal(stderr, '')
  return JSON.parse(stdout)
}

async function screenOf(args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await runCommand(['info', ...args])
  assert.equal(status, 0, stderr)
  assert.equal(stderr, '')
  return stdout.trimEnd()
}
