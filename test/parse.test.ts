/** What parsing costs, and what a hostile file cannot make it cost. */
import assert from 'node:assert/strict'
import { ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { type Checkpoint, parseCheckpoint } from '../src/checkpoint/parse.ts'
import { openEvidence } from '../src/evidence/file.ts'
import { type PlacedTag, type TagSpec, u32, writeCheckpoint } from './support/checkpoint.ts'

const GIBIBYTE = 2 ** 30

describe('parsing', () => {
  const directory = mkdtempSync(join(tmpdir(), 'vmssfs-parse-'))
  after(() => rmSync(directory, { recursive: true }))

  /** Parses, and counts the reads of the evidence and their bytes. */
  function parse(path: string): { checkpoint: Checkpoint; reads: number; bytes: number } {
    const file = openEvidence(path)
    const counted = { reads: 0, bytes: 0 }
    const readFile = file.read.bind(file)
    file.read = (target, offset) => {
      counted.reads++
      counted.bytes += target.length
      readFile(target, offset)
    }
    const checkpoint = parseCheckpoint(file)
    file.close()
    return { checkpoint, ...counted }
  }

  test('128 GiB of inline memory and 10,000 tags are a few hundred reads', { timeout: 60_000 }, () => {
    const path = join(directory, 'large.vmss')
    const device: TagSpec[] = Array.from({ length: 10_000 }, (_, index) => ({
      name: `register.${index % 7}`,
      indices: [index, index % 3],
      ...(index % 500 === 0 ? { block: Buffer.alloc(100_000, 1), pad: 3 } : { value: u32(index) }),
    }))
    const placed = writeCheckpoint(path, {
      groups: [
        {
          name: 'memory',
          tags: [{ name: 'Memory', indices: [0, 0], block: { size: 128 * GIBIBYTE, pieces: [] }, pad: 9 }],
        },
        { name: 'device', tags: device },
      ],
    })
    const { checkpoint, reads, bytes } = parse(path)
    assert.deepEqual(checkpoint.problems, [])
    assert.deepEqual(listed(checkpoint), placed)
    assert.ok(reads < 100, `${reads} reads`)
    assert.ok(bytes < 8 * 2 ** 20, `${bytes} bytes read`)
  })

  test('a tag header that straddles every border of a window is read whole', { timeout: 60_000 }, () => {
    const path = join(directory, 'straddling.vmss')
    // Steps of a size that is coprime with the window, so that headers meet its border at many places.
    const tags: TagSpec[] = Array.from({ length: 20_000 }, (_, index) => ({
      name: 'n'.repeat(1 + (index % 251)),
      indices: [index],
      value: Buffer.alloc(index % 62, index),
    }))
    const placed = writeCheckpoint(path, { groups: [{ name: 'g', tags }] })
    const { checkpoint } = parse(path)
    assert.deepEqual(listed(checkpoint), placed)
    for (const [index, tag] of (checkpoint.groups[0]?.tags ?? []).entries()) {
      assert.ok(tag.kind === 'inline' && Buffer.alloc(index % 62, index).equals(tag.bytes))
    }
  })

  test('the number of tags is bounded, and what is beyond is reported', { timeout: 60_000 }, () => {
    const path = join(directory, 'crowded.vmss')
    const descriptor = openSync(path, 'w')
    const count = 1_200_000
    const size = 3 * count + 2
    const header = Buffer.alloc(92)
    header.writeUInt32LE(0xbed2bed2, 0)
    header.writeUInt32LE(1, 8)
    header.write('crowd', 12)
    header.writeBigUInt64LE(92n, 76)
    header.writeBigUInt64LE(BigInt(size), 84)
    writeSync(descriptor, header)
    writeSync(descriptor, Buffer.alloc(3 * count, Buffer.from([0, 1, 0x78])))
    ftruncateSync(descriptor, 92 + size)
    const { checkpoint } = parse(path)
    assert.equal(checkpoint.groups[0]?.tags.length, 1_048_576)
    assert.deepEqual(
      checkpoint.problems.map(({ finding }) => [finding.expected, finding.found]),
      [['at most 1048576 tags', 'more in the group "crowd"']],
    )
  })

  test('any byte of a checkpoint may be wrong', { timeout: 120_000 }, () => {
    const path = join(directory, 'whole.vmss')
    const tags: TagSpec[] = [
      { name: 'inline', indices: [1], value: u32(7) },
      { name: 'block', indices: [1, 2], block: Buffer.alloc(20, 2), pad: 5 },
      { name: 'squeezed', compressed: Buffer.alloc(9, 3), sizeInMemory: 100 },
    ]
    writeCheckpoint(path, {
      groups: [
        { name: 'one', tags },
        { name: 'two', tags },
      ],
    })
    const whole = parse(path).checkpoint
    const descriptor = openSync(path, 'r+')
    for (let offset = 12; offset < whole.file.size; offset++) {
      for (const value of [0x00, 0x3e, 0x3f, 0x7f, 0xff]) {
        const before = Buffer.alloc(1)
        const file = openEvidence(path)
        file.read(before, offset)
        writeSync(descriptor, Buffer.from([value]), 0, 1, offset)
        // Whatever it makes of it, each tag lies inside of the file, or is the one that a problem says is cut short.
        const { groups, problems } = parseCheckpoint(file)
        const outside = groups.flatMap(({ tags }) => tags).filter((tag) => tag.offset + tag.size > file.size)
        assert.ok(outside.length === 0 || problems.some(({ code }) => code === 'truncated'), `${value} at ${offset}`)
        writeSync(descriptor, before, 0, 1, offset)
        file.close()
      }
    }
  })
})

function listed(checkpoint: Checkpoint): PlacedTag[] {
  return checkpoint.groups.flatMap((group) =>
    group.tags.map(({ name, indices, offset, size }) => ({
      group: group.name,
      name,
      indices: [...indices],
      offset,
      size,
    })),
  )
}
