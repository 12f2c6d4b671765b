import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { assemble, writeListing } from './support/listing.ts'

/** The assembled file in hexadecimal, its holes as zeros. */
function hex(listing: string): string {
  const { size, pieces } = assemble(listing)
  const bytes = Buffer.alloc(size)
  for (const piece of pieces) {
    bytes.set(piece.bytes, piece.offset)
  }
  return bytes.toString('hex')
}

test('bytes and comments', () => {
  assert.equal(hex(''), '')
  assert.equal(hex('# d2\nd2 BE\td2 # be\n\n  be'), 'd2bed2be')
})

test('texts and their escapes', () => {
  assert.equal(hex('"ab#" "é"'), '616223c3a9')
  assert.equal(hex(String.raw`"\n\\\"\x00\xFFx"`), '0a5c2200ff78')
  assert.equal(hex(String.raw`"\\x41"`), '5c783431')
  assert.equal(hex('text 4 "ab" text 2 "cd" text 1 ""'), '61620000636400')
})

test('numbers are little-endian', () => {
  assert.equal(hex('u8 255 u16 0x1234 u32 0x12345678'), 'ff341278563412')
  assert.equal(hex('u64 0xfffff80002c1c0ba'), 'bac0c10200f8ffff')
  assert.equal(hex('u16 10-3+0x10'), '1700')
})

test('labels may be used before they are there', () => {
  assert.equal(hex('u8 end-start u8 end start: 01 02 03 end: u8 start'), '030501020302')
})

test('fill repeats a byte', () => {
  assert.equal(hex('fill 3 0xaa fill 0 1 start: fill 6-start 7'), 'aaaaaa070707')
})

test('pages tell what and where they are', () => {
  const [piece, ...rest] = assemble('pages 18 Q').pieces
  assert.deepEqual(rest, [])
  const bytes = Buffer.from(piece?.bytes ?? [])
  assert.equal(bytes.length, 18 * 4096)
  assert.equal(bytes.toString('latin1', 0, 16), 'Q0000000Q0000008')
  assert.equal(bytes.toString('latin1', 17 * 4096 - 8, 17 * 4096 + 8), 'Q0010ff8Q0011000')
  const words = new Set(
    Array.from({ length: bytes.length / 8 }, (_, word) => bytes.toString('latin1', word * 8, word * 8 + 8)),
  )
  assert.equal(words.size, bytes.length / 8)
})

test('going on elsewhere leaves a hole', () => {
  const { size, pieces } = assemble('01 @0x200000000 here: 02 03 @here+2 04 @0x300000000')
  assert.equal(size, 0x300000000)
  assert.deepEqual(
    pieces.map(({ offset, bytes }) => [offset, ...bytes]),
    [
      [0, 1],
      [0x200000000, 2, 3, 4],
    ],
  )
})

test('an offset can be asserted, also with labels to come', () => {
  assert.equal(hex('01 02 =2 =end-1 03 end:'), '010203')
})

test('mistakes are told with their line', () => {
  const mistakes: [listing: string, message: string][] = [
    ['\n01 02 @1', 'line 2: @1 is backwards, this is 2 (0x2)'],
    ['01\n=2', 'line 2: =2 fails, this is 1 (0x1)'],
    ['=end\n01 end:', 'line 1: =end fails, this is 0 (0x0)'],
    ['u8 256', 'line 1: 256 does not fit in 1 bytes'],
    ['u8 0-1', 'line 1: -1 does not fit in 1 bytes'],
    ['u32 nowhere', 'line 1: label nowhere is not known'],
    ['@later later:', 'line 1: label later is not known'],
    ['fill 0-1 0', 'line 1: 0-1 is -1'],
    ['u32 1+', "line 1: '1+' is not an expression"],
    ['u32', 'line 1: something is missing at the end of the line'],
    ['a: a:', 'line 1: label a is there already'],
    ['text 2 "abc"', 'line 1: the text has 3 bytes'],
    ['text 2 abc', "line 1: 'abc' is not a text in quotes"],
    ['"abc', 'line 1: a text does not end'],
    [String.raw`"\q"`, String.raw`line 1: \q is not an escape`],
    ['123', "line 1: '123' is not part of the language"],
    ['pages 1 ab', 'line 1: pages wants a count of at most 65536 and one letter'],
  ]
  for (const [listing, message] of mistakes) {
    assert.throws(() => assemble(listing), { message }, listing)
  }
})

test('a listing becomes a sparse file, and replaces what was there', (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'vmssfs-listing-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const listing = join(directory, 'a.listing')
  const output = join(directory, 'a')
  writeFileSync(output, 'longer than what comes now')
  writeFileSync(listing, '"abc"')
  writeListing(listing, output)
  assert.equal(readFileSync(output, 'utf8'), 'abc')
  writeFileSync(listing, '@0x2000000000 "abc" @0x2000010000')
  writeListing(listing, output)
  const { size, blocks } = statSync(output)
  assert.equal(size, 0x2000010000)
  assert.ok(blocks * 512 < 1 << 20, `${blocks} blocks are on the disk`)
  writeFileSync(listing, '\n@x')
  assert.throws(() => writeListing(listing, output), { message: `${listing}, line 2: label x is not known` })
})
