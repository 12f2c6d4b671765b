import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { text, u8, u16, u32, u64, writeCheckpoint } from './support/checkpoint.ts'
import { assemble } from './support/listing.ts'

const LISTING = String.raw`
d3 be d3 be  u32 7  u32 3
text 64 "first"    u64 first   u64 second-first
text 64 "\xff/"    u64 second  u64 third-second
text 64 "memory"   u64 third   u64 end-third
first:
  01 01 "a"                     05
  42 01 "b" ff ff ff ff         06 00
  c8 01 "c" u32 1 u32 2 u32 3   07 00 00 00 00 00 00 00
  00 05 "empty"
  3f 04 "text"                  u64 8 u64 8 u16 0  "abc" 00 00 00 00 00
  7e 02 "\xfe\x00" u32 0x80000000  u64 2 u64 0x200000000 u16 1 aa  "zz"
  00 00
second:
  00 00
third:
  bf 06 "Memory" u32 0 u32 0    u64 0x3000 u64 0x3000 u16 3 aa aa aa
    data: @data+0x1000 "page" @data+0x3000
  04 05 "after"                 u32 9
  00 00
end:
00 00
`

test('the builder writes what the same checkpoint is by hand, and says where', (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'vmssfs-builder-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'a.vmss')
  const placed = writeCheckpoint(path, {
    magic: 0xbed3bed3,
    version: 7,
    groups: [
      {
        name: 'first',
        tags: [
          { name: 'a', value: u8(5) },
          { name: 'b', indices: [-1], value: u16(6) },
          { name: 'c', indices: [1, 2, 3], value: u64(7) },
          { name: 'empty', value: new Uint8Array() },
          { name: 'text', block: text('abc', 8) },
          { name: Uint8Array.of(0xfe, 0), indices: [2 ** 31], compressed: text('zz'), sizeInMemory: 2 ** 33, pad: 1 },
        ],
      },
      { name: Uint8Array.of(0xff, 0x2f), tags: [] },
      {
        name: 'memory',
        tags: [
          {
            name: 'Memory',
            indices: [0, 0],
            block: { size: 0x3000, pieces: [{ offset: 0x1000, bytes: text('page') }] },
            pad: 3,
          },
          { name: 'after', value: u32(9) },
        ],
      },
    ],
  })
  const { size, pieces } = assemble(LISTING)
  const expected = Buffer.alloc(size)
  for (const { offset, bytes } of pieces) {
    expected.set(bytes, offset)
  }
  assert.equal(readFileSync(path).toString('hex'), expected.toString('hex'))
  assert.deepEqual(
    placed.map((tag) => [tag.group, tag.name, tag.size]),
    [
      ['first', 'a', 1],
      ['first', 'b', 2],
      ['first', 'c', 8],
      ['first', 'empty', 0],
      ['first', 'text', 8],
      ['first', '\ufffd\0', 2],
      ['memory', 'Memory', 0x3000],
      ['memory', 'after', 4],
    ],
  )
  const memory = placed.find(({ name }) => name === 'Memory')
  assert.equal(memory?.offset, expected.indexOf('page') - 0x1000)
})
