/** The table of tags, as text, JSON and CSV, through the command alone. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  type CheckpointSpec,
  type PlacedTag,
  type TagSpec,
  text,
  u8,
  u16,
  u32,
  u64,
  writeCheckpoint,
  writeSparse,
} from './support/checkpoint.ts'
import { cliPath, pattern, run, runCommand, temporary } from './support/mount.ts'

const TEST = { timeout: 60_000 }
const TOP = fileURLToPath(new URL('../../', import.meta.url))
const SAMPLES = resolve(TOP, process.env['VMSSFS_SAMPLES'] ?? '../shared/samples')
const PAGE = 4096

/** Tags, and what a listing says that their value is. */
const ROWS: [tag: TagSpec, value: string][] = [
  [{ name: 'one', value: u8(0xff) }, '0xff'],
  [{ name: 'two', indices: [0], value: u16(0x1234) }, '0x1234'],
  [{ name: 'four', indices: [1, 22], value: u32(0) }, '0x0'],
  [{ name: 'eight', indices: [1, 22, 333], value: u64(0xffff_f800_02c1_c0ban) }, '0xfffff80002c1c0ba'],
  [{ name: 'three', value: Buffer.from([1, 2, 0xff]) }, '01 02 ff'],
  [{ name: 'nothing', value: Buffer.alloc(0) }, ''],
  [{ name: 'inline text', value: text('gray', 5) }, 'gray'],
  [{ name: 'text', block: text('VMware Player', 256) }, 'VMware Player'],
  [{ name: 'full', block: text('x'.repeat(256)) }, 'x'.repeat(256)],
  [{ name: 'UTF-8', block: text('Müller, zażółć', 256) }, 'Müller, zażółć'],
  [{ name: 'longer', block: text('x'.repeat(257)) }, ''],
  [{ name: 'two texts', block: text('one\0two', 256) }, ''],
  [{ name: 'lines', block: text('one\ntwo', 256) }, ''],
  [{ name: 'escape', block: text('\x1b[31m', 256) }, ''],
  [{ name: 'right to left', block: text('\u202egnp.exe', 256) }, ''],
  [{ name: 'latin-1', block: Buffer.from('M\xfcller', 'latin1') }, ''],
  [{ name: 'zeros', block: Buffer.alloc(64) }, ''],
  [{ name: 'empty block', block: Buffer.alloc(0) }, ''],
  [{ name: 'padded', block: text('behind a pad', 16), pad: 77 }, 'behind a pad'],
  [{ name: 'compressed', compressed: text('text'), sizeInMemory: 4096 }, ''],
  [{ name: 'like a number', block: text('0x5') }, '0x5'],
  [{ name: 'twice', value: u8(1) }, '0x1'],
  [{ name: 'twice', value: u8(2) }, '0x2'],
]

const region = (index: number, image: number, address: number, pages: number): TagSpec[] => [
  { name: 'regionPageNum', indices: [index], value: u32(image) },
  { name: 'regionPPN', indices: [index], value: u32(address) },
  { name: 'regionSize', indices: [index], value: u32(pages) },
]

/** One group with all of {@link ROWS}, between others. */
const GUEST: CheckpointSpec = {
  groups: [
    { name: 'cpu', tags: [{ name: 'rip', indices: [0], value: u64(0x7c00) }] },
    { name: 'values', tags: ROWS.map(([tag]) => tag) },
    { name: 'Tools Install', tags: [] },
    { name: 'usb', tags: [{ name: 'first', value: u8(1) }] },
    { name: 'usb', tags: [{ name: 'second', value: u8(2) }] },
    {
      name: 'memory',
      tags: [{ name: 'regionsCount', value: u32(2) }, ...region(0, 0, 0, 3), ...region(1, 3, 0x10_0000, 2)],
    },
  ],
}

test('the table has a head, the memory runs and a line for each tag, in the order of the file', TEST, () =>
  withGuest(GUEST, async (evidence, placed) => {
    writeSparse(evidence.replace(/vmss$/, 'vmem'), { size: 5 * PAGE, pieces: [] })
    const lines = (await succeed(['tags', evidence])).trimEnd().split('\n')
    const start = lines.findIndex((line) => line.startsWith('DataOffset'))
    assert.deepEqual(lines.slice(0, start), [
      'Magic: 0xbed2bed2 (NORMAL)',
      'Version: 8',
      'Group count: 6',
      '',
      'Memory runs in guest.vmem',
      'File Offset        PhysMem Offset     Size',
      '------------------ ------------------ ------------------',
      '0x0000000000000000 0x0000000000000000 0x0000000000003000',
      '0x0000000000003000 0x0000000100000000 0x0000000000002000',
      '',
    ])
    assert.match(lines[start] ?? '', /^DataOffset +DataSize +Name +Value$/)
    assert.match(lines[start + 1] ?? '', /^[- ]+$/)
    const values = new Map(ROWS.map(([, value], index) => [index + 1, value]))
    assert.equal(lines.length - start - 2, placed.length)
    for (const [index, tag] of placed.entries()) {
      const line = lines[start + 2 + index] ?? ''
      const left = `0x${hex(tag.offset).padStart(8, '0')} ${`0x${hex(tag.size)}`.padStart(10)} ${pathOf(tag)}`
      assert.equal(line.slice(0, left.length), left)
      const value = values.get(index)
      if (value !== undefined) {
        assert.equal(line.slice(left.length), value === '' ? '' : `${' '.repeat(72 - left.length)} ${value}`)
      }
    }
  }),
)

test('JSON has the exact names and numbers', TEST, () =>
  withGuest(GUEST, async (evidence, placed) => {
    writeSparse(evidence.replace(/vmss$/, 'vmem'), { size: 5 * PAGE, pieces: [] })
    const { tags, ...head } = JSON.parse(await succeed(['tags', evidence, '--json']))
    assert.deepEqual(head, {
      magic: '0xbed2bed2',
      state: 'NORMAL',
      version: 8,
      groups: 6,
      runs: [
        { offset: 0, address: '0x0', size: 3 * PAGE },
        { offset: 3 * PAGE, address: '0x100000000', size: 2 * PAGE },
      ],
    })
    const places = tags.map(({ group, name, indices, offset, size }: PlacedTag) => ({
      group,
      name,
      indices,
      offset,
      size,
    }))
    assert.deepEqual(places, placed)
    const values = tags.slice(1, 1 + ROWS.length)
    for (const [index, [spec, value]] of ROWS.entries()) {
      const { kind, value: shown, bytes } = values[index]
      assert.equal(kind, 'value' in spec ? 'inline' : 'block' in spec ? 'plain' : 'compressed')
      assert.equal(shown ?? bytes?.replace(/..(?=.)/g, '$& ') ?? '', value, spec.name.toString())
    }
  }),
)

test('CSV is RFC 4180', TEST, () =>
  withGuest(
    {
      groups: [
        {
          name: 'a,b',
          tags: [
            { name: 'c"d', indices: [1, 2], value: u8(1) },
            { name: "=cmd|' /C calc'!A0", block: text('+1+2') },
            { name: '-x', block: text('@SUM(A1)') },
            { name: 'line\nfeed\x1b', value: Buffer.from([1, 2, 3]) },
            { name: 'far', block: text('a=b') },
          ],
        },
      ],
    },
    async (evidence, placed) => {
      const [first, second, third, fourth, fifth] = placed.map(({ offset }) => offset)
      assert.equal(
        await succeed(['tags', '--csv', evidence]),
        [
          'offset,size,group,tag,indices,kind,value',
          `${first},1,"a,b","c""d",[1][2],inline,0x1`,
          `${second},4,"a,b",'=cmd|' /C calc'!A0,,plain,'+1+2`,
          `${third},8,"a,b",'-x,,plain,'@SUM(A1)`,
          `${fourth},3,"a,b",line\\x0afeed\\x1b,,inline,01 02 03`,
          `${fifth},3,"a,b",far,,plain,a=b`,
          '',
        ].join('\r\n'),
      )
    },
  ),
)

describe('patterns', () => {
  const cases: [patterns: string[], paths: string[]][] = [
    [['cpu/rip[0]'], ['cpu/rip[0]']],
    [['*/{rip,two}[0]'], ['cpu/rip[0]', 'values/two[0]']],
    [['usb/*'], ['usb/first', 'usb/second']],
    [['usb/{first,second}'], ['usb/first', 'usb/second']],
    [['usb/{second,third}'], ['usb/second']],
    [['values/?nline text'], ['values/inline text']],
    [['**/*e*d'], ['values/compressed', 'values/padded', 'usb/second']],
    [
      ['usb/second', 'cpu/*'],
      ['cpu/rip[0]', 'usb/second'],
    ],
    [['values/twice'], ['values/twice', 'values/twice']],
    [['*'], []],
    [['cpu'], []],
    [['cpu/*', 'nothing/*'], []],
    [['cpu/rip[01]'], []],
  ]
  for (const [patterns, paths] of cases) {
    test(`${patterns.join(' ')}: ${paths.length === 0 ? 'none, which is 4' : paths.join(' ')}`, TEST, () =>
      withGuest(GUEST, async (evidence) => {
        const { status, stdout, stderr } = await runCommand(['tags', '--no-memory', '--json', evidence, ...patterns])
        if (paths.length === 0) {
          assert.equal(status, 4)
          assert.equal(stdout, '')
          assert.match(stderr, /expected a tag that matches .*found none\n.*try: /)
        } else {
          const { tags } = JSON.parse(stdout)
          assert.deepEqual(tags.map(pathOf).sort(), [...paths].sort())
        }
      }),
    )
  }
})

describe('--hexdump', () => {
  const bytes = pattern(7, 100)
  const long = { name: 'long', block: bytes, pad: 3 }
  const spec = (...tags: TagSpec[]): CheckpointSpec => ({ groups: [{ name: 'g', tags }] })

  test('dumps what is longer than a number, with offsets in the file', TEST, () =>
    withGuest(
      spec({ name: 'number', value: u64(1) }, long, { name: 'short', block: text('~ \x7f\xff') }),
      async (evidence, placed) => {
        const [, first, second] = placed as [PlacedTag, PlacedTag, PlacedTag]
        const file = readFileSync(evidence)
        const lines = tableOf(await succeed(['tags', '--hexdump', evidence]))
        const dump = [0, 16, 32, 48, 64, 80, 96].map((at) => {
          const part = file.subarray(first.offset + at, first.offset + Math.min(at + 16, 100))
          const pairs = [...part.toString('hex').matchAll(/.{1,4}/g)].join(' ')
          const shown = part.toString('latin1').replace(/[^ -~]/g, '.')
          return `  ${hex(first.offset + at).padStart(8, '0')}: ${pairs.padEnd(39)}  ${shown}`
        })
        assert.equal(lines.length, 3 + dump.length + 1)
        assert.deepEqual(lines.slice(2, 2 + dump.length), dump)
        const digits = '7e20 7fc3 bf'
        assert.equal(lines.at(-1), `  ${hex(second.offset).padStart(8, '0')}: ${digits.padEnd(39)}  ~ ...`)
      },
    ),
  )

  test('no byte is lost between two reads', TEST, () => {
    const many = pattern(9, 100_001)
    return withGuest(spec({ name: 'many', block: many }), async (evidence, placed) => {
      const lines = tableOf(await succeed(['tags', '--hexdump', evidence])).slice(1)
      const dumped = lines.map((line) => line.slice(12, 51).replaceAll(' ', '')).join('')
      assert.ok(Buffer.from(dumped, 'hex').equals(many))
      const offsets = lines.map((line) => Number.parseInt(line.slice(2, 10), 16))
      assert.deepEqual(
        offsets,
        Array.from({ length: 6251 }, (_, index) => (placed[0]?.offset ?? 0) + 16 * index),
      )
    })
  })

  test('--limit stops, and says what it left out', TEST, () =>
    withGuest(spec(long), async (evidence) => {
      const lines = tableOf(await succeed(['tags', '--hexdump', '--limit', '20', evidence]))
      assert.equal(lines.length, 4)
      assert.match(lines[2] ?? '', /^ {2}[0-9a-f]{8}: [0-9a-f]{4} [0-9a-f]{4} {31} ....$/)
      assert.equal(lines[3], '  80 more bytes')
      assert.deepEqual(tableOf(await succeed(['tags', '--hexdump', '--limit', '0', evidence])).slice(1), [
        '  100 more bytes',
      ])
      assert.equal(tableOf(await succeed(['tags', '--hexdump', '--limit', '100', evidence])).length, 8)
    }),
  )

  test('bytes that the file does not have are said', TEST, () =>
    withGuest(spec(long), async (evidence, placed) => {
      truncateSync(evidence, (placed[0]?.offset ?? 0) + 20)
      const { status, stdout } = await runCommand(['tags', '--hexdump', evidence])
      assert.equal(status, 0)
      const lines = tableOf(stdout)
      assert.equal(lines.length, 4)
      assert.match(lines[3] ?? '', /guest\.vmss at 0x[0-9a-f]+: expected 80 more bytes, found the end of the file/)
    }),
  )

  test('a block of 128 GiB is written as it is read, until nobody reads any more', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmss')
      const size = 128 * 2 ** 30
      writeCheckpoint(evidence, spec({ name: 'huge', block: { size, pieces: [{ offset: 16, bytes: u32(1) }] } }))
      const command = `"${process.execPath}" "${cliPath}" tags --hexdump "${evidence}" 2>&1`
      const script = `set -o pipefail; ${command} | head -n 12; echo "status $?"`
      const { stdout, stderr } = await run('bash', ['-c', script], { limit: 30_000 })
      const lines = stdout.trimEnd().split('\n')
      assert.match(lines[8] ?? '', /huge$/)
      assert.equal(lines.length, 13, stdout)
      assert.equal(lines[12], 'status 0')
      assert.equal(stderr, '')
      const limited = tableOf(await succeed(['tags', '--hexdump', '--limit', '32', evidence], { limit: 20_000 }))
      assert.match(limited[2] ?? '', /: 0100 0000 0000 /)
      assert.equal(limited[3], `  ${size - 32} more bytes`)
    }),
  )
})

test('names act on no terminal', TEST, () => {
  const names = ['line\nfeed', 'es\x1b[2Jcape', '\u202egnp.exe', 'a/b', '..', Buffer.from('M\xfcller', 'latin1')]
  const tags = names.map((name): TagSpec => ({ name, value: u8(1) }))
  return withGuest({ groups: [{ name: 'a\rb', tags }] }, async (evidence) => {
    for (const args of [[], ['--json'], ['--csv'], ['--hexdump']]) {
      const output = await succeed(['tags', evidence, ...args])
      assert.doesNotMatch(output.replaceAll('\r\n', '\n'), /(?!\n)[\p{Cc}\p{Cf}\ufffd]/u)
    }
    const paths = tableOf(await succeed(['tags', evidence])).map((line) => line.slice(22, 72).trimEnd())
    assert.deepEqual(paths, [
      'a%0Db/line%0Afeed',
      'a%0Db/es%1B[2Jcape',
      'a%0Db/\\u{202e}gnp.exe',
      'a%0Db/a%2Fb',
      'a%0Db/%2E%2E',
      'a%0Db/M%FCller',
    ])
    assert.equal(JSON.parse(await succeed(['tags', evidence, '--json', '**'])).tags.length, names.length)
    const { tags: exact } = JSON.parse(await succeed(['tags', evidence, '--json']))
    assert.deepEqual(
      exact.slice(0, 5).map(({ name }: PlacedTag) => name),
      names.slice(0, 5),
    )
    assert.equal(exact[5].name, 'M\udcfcller')
  })
})

test('a quarter of a million tags', TEST, () => {
  const tags = Array.from({ length: 250_000 }, (_, index): TagSpec => ({ name: 't', indices: [index], value: u8(1) }))
  return withGuest({ groups: [{ name: 'g', tags }] }, async (evidence) => {
    assert.equal(tableOf(await succeed(['tags', evidence], { limit: 20_000 })).length, tags.length)
    assert.equal(tableOf(await succeed(['tags', evidence, 'g/t[*7]'], { limit: 20_000 })).length, 25_000)
  })
})

describe('what cannot be meant', () => {
  const cases: [args: string[], status: number, says: RegExp][] = [
    [['--json', '--csv'], 2, /--json and --csv/],
    [['--hexdump', '--json'], 2, /--hexdump and --json/],
    [['--limit', '5'], 2, /--hexdump/],
    [['--hexdump', '--limit', '-5'], 2, /--limit.*"-5"|limit/],
    [['--hexdump', '--limit', '1e9'], 2, /--limit.*"1e9"/],
  ]
  for (const [args, expected, says] of cases) {
    test(`${args.join(' ')}: ${expected}`, TEST, () =>
      withGuest({ groups: [] }, async (evidence) => {
        const { status, stdout, stderr } = await runCommand(['tags', evidence, ...args])
        assert.deepEqual([status, stdout], [expected, ''])
        assert.match(stderr, says)
      }),
    )
  }

  test('memory alone has no tags: 4', TEST, () =>
    temporary(async (directory) => {
      const evidence = join(directory, 'guest.vmem')
      writeFileSync(evidence, pattern(1, PAGE))
      const { status, stdout, stderr } = await runCommand(['tags', evidence])
      assert.deepEqual([status, stdout], [4, ''])
      assert.match(stderr, /guest\.vmem: expected a checkpoint, found memory alone/)
    }),
  )
})

describe('genuine files', { skip: existsSync(SAMPLES) ? false : `there are no genuine files in ${SAMPLES}` }, () => {
  for (const name of ['player12-suspend.vmss', 'powered-off.vmsn']) {
    test(`${name}: offsets, sizes and paths are those of another parser`, TEST, async () => {
      const lines = tableOf(await succeed(['tags', '--no-memory', join(SAMPLES, name)])).map((line) => {
        const [offset = '', size] = line.split(/ +/, 2)
        return `0x${Number(offset).toString(16)}\t${size}\t${line.slice(22, 73).trimEnd()}`
      })
      const expected = readFileSync(join(SAMPLES, name.replace(/\.\w+$/, '.tags.txt')), 'utf8')
        .trimEnd()
        .split('\n')
      // Names of more than 50 characters are followed by their values at once.
      const cut = (line: string) =>
        line
          .split('\t')
          .map((cell) => cell.slice(0, 51))
          .join('\t')
      assert.deepEqual(lines.map(cut), expected.slice(1, -1).map(cut))
      const { tags } = JSON.parse(await succeed(['tags', '--no-memory', '--json', join(SAMPLES, name)]))
      assert.deepEqual(
        tags.map((tag: PlacedTag) => `0x${hex(tag.offset)}\t0x${hex(tag.size)}\t${pathOf(tag)}`),
        expected.slice(1, -1),
      )
    })
  }
})

function withGuest(
  spec: CheckpointSpec,
  body: (evidence: string, placed: PlacedTag[]) => void | Promise<void>,
): Promise<void> {
  return temporary((directory) => {
    const evidence = join(directory, 'guest.vmss')
    return body(evidence, writeCheckpoint(evidence, spec))
  })
}

async function succeed(args: readonly string[], options: { limit?: number } = {}): Promise<string> {
  const { status, stdout, stderr } = await runCommand(args, options)
  assert.equal(status, 0, stderr)
  assert.equal(stderr, '')
  return stdout
}

/** The lines about tags in the text that the command prints. */
function tableOf(output: string): string[] {
  const lines = output.trimEnd().split('\n')
  return lines.slice(lines.findIndex((line) => line.startsWith('DataOffset')) + 2)
}

function pathOf({ group, name, indices }: PlacedTag): string {
  return `${group}/${name}${indices.map((index) => `[${index}]`).join('')}`
}

function hex(value: number): string {
  return value.toString(16)
}
