/**
 * Every folder of test/fixtures: bytes in, tree out. What the cases are, and the files that say what is expected, is told in
 * test/fixtures/README.md.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  EvidenceError,
  type File,
  type Guest,
  lookup,
  openCheckpoint,
  planTree,
  read,
  sizeOf,
  walk,
} from '../src/index.ts'
import { writeListing } from './support/listing.ts'

const FIXTURES = fileURLToPath(new URL('../../test/fixtures/', import.meta.url))
const ERRNO: Partial<Record<string, string>> = { unsupported: '!EOPNOTSUPP' }

describe('fixtures', () => {
  for (const name of readdirSync(FIXTURES).filter((entry) => entry !== 'README.md')) {
    test(name, { timeout: 60_000 }, () => check(join(FIXTURES, name)))
  }
})

function check(fixture: string): void {
  const directory = mkdtempSync(join(tmpdir(), 'vmssfs-fixture-'))
  try {
    const listings = readdirSync(fixture).filter((name) => name.endsWith('.listing'))
    const files = listings.map((name) => join(directory, basename(name, '.listing')))
    for (const [index, name] of listings.entries()) {
      writeListing(join(fixture, name), files[index] as string)
    }
    const checkpoint = files.find((file) => !file.endsWith('.vmem')) as string
    if (existsSync(join(fixture, 'message.txt'))) {
      checkRefusal(fixture, directory, checkpoint)
    } else {
      checkTree(fixture, openCheckpoint(checkpoint))
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function checkRefusal(fixture: string, directory: string, checkpoint: string): void {
  assert.throws(
    () => openCheckpoint(checkpoint),
    (error: unknown) => {
      assert.ok(error instanceof EvidenceError)
      const lines = [error.code, error.message.replaceAll(`${directory}/`, '')]
      assert.equal(`${lines.join('\n')}\n`, readFileSync(join(fixture, 'message.txt'), 'utf8'))
      return true
    },
  )
}

function checkTree(fixture: string, guest: Guest): void {
  try {
    const root = planTree(guest)
    const expected = readFileSync(join(fixture, 'tree.txt'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t'))
    const actual = [...walk(root)].slice(1).map(([path, node]) => [path, node] as const)
    assert.deepEqual(
      actual.map(([path]) => path).sort(byBytes),
      expected.map(([, , , path]) => path),
    )
    for (const [kind, size, digest, path] of expected as [string, string, string, string][]) {
      const node = lookup(root, path)
      assert.ok(node !== undefined, path)
      assert.equal(node.kind[0], kind, path)
      if (node.kind === 'link') {
        assert.equal(node.target, digest, path)
      } else if (node.kind === 'file') {
        checkFile(node, size, digest, path)
      }
    }
    for (const [path, offset, bytes] of linesOf(join(fixture, 'reads.txt')) as [string, string, string][]) {
      assert.equal(readAt(lookup(root, path) as File, Number(offset), bytes), bytes, `${path} at ${offset}`)
    }
    const problems = lookup(root, 'meta/problems.txt') as File
    const file = join(fixture, 'problems.txt')
    assert.equal(contentsOf(problems).toString(), existsSync(file) ? readFileSync(file, 'utf8') : '')
  } finally {
    guest.close()
  }
}

function checkFile(node: File, size: string, digest: string, path: string): void {
  if (size !== '*') {
    assert.equal(sizeOf(node.extents), Number(size), `size of ${path}`)
  }
  if (digest !== '*') {
    assert.equal(digestOf(node), digest, `digest of ${path}`)
  }
}

function digestOf(node: File): string {
  try {
    return createHash('sha256').update(contentsOf(node)).digest('hex')
  } catch (error) {
    return errnoOf(error)
  }
}

/** The bytes at an offset in hexadecimal, as many as `expected` has or names behind `!EIO:`. */
function readAt(node: File, offset: number, expected: string): string {
  const [errno, count] = expected.split(':')
  const target = Buffer.alloc(count === undefined ? expected.length / 2 : Number(count), 0xee)
  try {
    return target.subarray(0, read(node.extents, target, offset)).toString('hex')
  } catch (error) {
    assert.equal(errnoOf(error), errno)
    return expected
  }
}

function contentsOf(node: File): Buffer {
  const target = Buffer.alloc(sizeOf(node.extents), 0xee)
  assert.equal(read(node.extents, target, 0), target.length)
  return target
}

function errnoOf(error: unknown): string {
  assert.ok(error instanceof EvidenceError, String(error))
  return ERRNO[error.code] ?? '!EIO'
}

function linesOf(file: string): string[][] {
  return existsSync(file)
    ? readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => line.split('\t'))
    : []
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
