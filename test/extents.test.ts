/** Ranges at their borders: 0, end - 1, end, and across every seam. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { EvidenceError } from '../src/evidence/errors.ts'
import { compose, locate, type Piece, rangeOf, read, sizeOf, storedSizeOf } from '../src/evidence/extents.ts'
import { openEvidence } from '../src/evidence/file.ts'

describe('extents', () => {
  const directory = mkdtempSync(join(tmpdir(), 'vmssfs-extents-'))
  const path = join(directory, 'evidence')
  writeFileSync(path, Buffer.from(Array.from({ length: 256 }, (_, index) => index)))
  const file = openEvidence(path)
  after(() => {
    file.close()
    rmSync(directory, { recursive: true })
  })

  const made: Piece = { kind: 'bytes', bytes: Buffer.from('header'), size: 6 }
  const hole = (size: number): Piece => ({ kind: 'zero', size })

  test('every read is a slice of the whole', () => {
    const extents = compose([made, ...rangeOf(file, 100, 10), hole(7), ...rangeOf(file, 0, 5), hole(3)])
    const whole = Buffer.concat([
      Buffer.from('header'),
      Buffer.from(Array.from({ length: 10 }, (_, index) => 100 + index)),
      Buffer.alloc(7),
      Buffer.from([0, 1, 2, 3, 4]),
      Buffer.alloc(3),
    ])
    assert.equal(sizeOf(extents), whole.length)
    assert.equal(storedSizeOf(extents), 21)
    for (let offset = 0; offset <= whole.length + 2; offset++) {
      for (let size = 0; size <= whole.length + 2; size++) {
        const target = Buffer.alloc(size, 0xee)
        const count = read(extents, target, offset)
        assert.deepEqual(target.subarray(0, count), whole.subarray(offset, offset + size), `${size} bytes at ${offset}`)
        assert.ok(
          target.subarray(count).every((byte) => byte === 0xee),
          'nothing is written past the end',
        )
      }
    }
  })

  test('empty pieces vanish, and neighbours that continue each other are one', () => {
    const extents = compose([
      hole(0),
      hole(2),
      hole(3),
      ...rangeOf(file, 8, 4),
      ...rangeOf(file, 12, 4),
      ...rangeOf(file, 20, 1),
    ])
    assert.deepEqual(
      extents.map(({ kind, start, end }) => [kind, start, end]),
      [
        ['zero', 0, 5],
        ['file', 5, 13],
        ['file', 13, 14],
      ],
    )
    assert.deepEqual(
      [0, 4, 5, 12, 13, 14, 99].map((offset) => locate(extents, offset)),
      [0, 0, 1, 1, 2, 3, 3],
    )
    assert.deepEqual(compose([]), [])
    assert.equal(read(compose([]), Buffer.alloc(1), 0), 0)
  })

  test('what lies beyond the end of the evidence is refused, never short and never zero', () => {
    for (const [offset, size, present] of [
      [250, 10, 6],
      [256, 4, 0],
      [300, 4, 0],
    ] as const) {
      const extents = compose(rangeOf(file, offset, size))
      assert.equal(sizeOf(extents), size)
      assert.equal(storedSizeOf(extents), present)
      assert.equal(read(extents, Buffer.alloc(present), 0), present)
      for (const at of [present, size - 1]) {
        assert.throws(
          () => read(extents, Buffer.alloc(1), at),
          (error: unknown) => isTruncated(error, offset + present),
        )
      }
    }
  })

  test('evidence that shrinks behind our back is an error, not the end of the file', () => {
    const shrinking = join(directory, 'shrinking')
    writeFileSync(shrinking, Buffer.alloc(100, 1))
    const opened = openEvidence(shrinking)
    writeFileSync(shrinking, Buffer.alloc(40, 1))
    assert.throws(
      () => opened.read(Buffer.alloc(20), 30),
      (error: unknown) => isTruncated(error, 40),
    )
    opened.close()
  })
})

function isTruncated(error: unknown, offset: number): boolean {
  assert.ok(error instanceof EvidenceError)
  assert.equal(error.code, 'truncated')
  assert.equal(error.finding.offset, offset)
  return true
}
