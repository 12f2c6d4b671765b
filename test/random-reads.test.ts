/**
 * Reads of any size at any place of any file, most of them about a place where something begins or ends: through the
 * kernel, with both transports, every byte is that of the evidence.
 */
import assert from 'node:assert/strict'
import { chownSync, constants, mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, test } from 'node:test'
import type { SparseData } from './support/checkpoint.ts'
import { expectedTree, image, PAGE, REGIONS, sha256, writeGuest } from './support/guest.ts'
import { elfHead, elfOf, limeOf, rawOf, SCATTERED, writeMemory } from './support/memory-views.ts'
import {
  mountSkip,
  ORDINARY_ID,
  ordinaryDeviceSkip,
  ordinaryUserSkip,
  outputOf,
  pattern,
  type RunOptions,
  run,
  runCommand,
  temporary,
  temporaryDirectory,
} from './support/mount.ts'

const TEST = { timeout: 180_000 }
const skip = mountSkip || (process.platform !== 'linux' && 'there is no /dev/fuse but on Linux')
const ordinarySkip = ordinaryUserSkip || ordinaryDeviceSkip

/** By path, what a file of the mount must contain. */
type Expected = ReadonlyMap<string, SparseData>

/** Evidence, what its mount must show, its share of the reads, and the flags of open(2) for every second of them. */
interface Guest {
  checkpoint: string
  expected(mountpoint: string, options: RunOptions): Expected | Promise<Expected>
  share: number
  flags: number
}

/** A file by its number, an offset in it, and a size; in bytes. */
type Read = readonly [file: number, offset: number, size: number]

/** Of a file, in bytes. */
const LARGE = 2 ** 20

/** A page of memory, what caches and tools like to read in, and the largest request of the kernel's. */
const UNITS = [4096, 65_536, 1_048_576]

/** How many numbers {@link randomReads} takes for each, at most. */
const NUMBERS_A_READ = 9

const guests = skip ? [] : [rich(), scattered(), flat()]

describe('random reads', { skip }, () => {
  for (const transport of ['kernel', 'fuse-native']) {
    test(`100,000 of all files, transport ${transport}`, TEST, () => everyReadAgrees(transport, 100_000, false))

    test(`20,000 by an ordinary user, transport ${transport}`, { ...TEST, skip: ordinarySkip }, () =>
      everyReadAgrees(transport, 20_000, true),
    )
  }
})

async function everyReadAgrees(transport: string, count: number, asOrdinaryUser: boolean): Promise<void> {
  for (const { checkpoint, expected, share, flags } of guests) {
    const options = { asOrdinaryUser }
    await temporary(async (directory) => {
      const mountpoint = join(directory, 'mnt')
      mkdirSync(mountpoint)
      if (asOrdinaryUser) {
        chownSync(mountpoint, ORDINARY_ID, ORDINARY_ID)
      }
      const started = await runCommand(['--transport', transport, checkpoint, mountpoint], options)
      assert.equal(started.status, 0, started.stderr)
      const contents = await expected(mountpoint, options)
      const [paths, files] = [[...contents.keys()], [...contents.values()]]
      const reads = randomReads(count * share, files)
      const list = join(directory, 'reads.json')
      writeFileSync(list, JSON.stringify({ paths: paths.map((path) => join(mountpoint, path)), reads, flags }))
      const found = await outputOf(process.execPath, ['-e', READER, list], options)
      assert.deepEqual(digests(paths, JSON.parse(found)), digests(paths, digestsOf(reads, files)))
      const { status, stderr } = await runCommand(['unmount', mountpoint], options)
      assert.equal(status, 0, stderr)
    })
  }
}

/** A guest with something of everything. What other tests know by heart is read from its beginning to its end before. */
function rich(): Guest {
  return {
    checkpoint: writeGuest(join(temporaryDirectory(), 'guest')),
    share: 0.4,
    flags: constants.O_DIRECT,
    async expected(mountpoint, options) {
      // No folders, and no links.
      const known = [...expectedTree()].filter(([path]) => !/(\/|^config\.vmx|^Snapshot)$/.test(path))
      const folders = ['meta', 'cpu'].map((folder) => join(mountpoint, folder))
      const others = (await outputOf('find', [...folders, '-type', 'f'], options)).trim().split('\n')
      const read = async (path: string) => (await run('cat', [path], options)).output
      const head = (await run('head', ['-c', `${PAGE}`, join(mountpoint, 'physmem.elf')], options)).output
      return new Map<string, SparseData>([
        ...known.map(([path, bytes]) => [path, whole(bytes)] as const),
        ...(await Promise.all(
          others.map(async (path) => [relative(mountpoint, path), whole(await read(path))] as const),
        )),
        ['physmem.raw', rawOf(REGIONS, image)],
        ['physmem.elf', elfOf(head, REGIONS, image)],
        ['physmem.lime', limeOf(REGIONS, image)],
      ])
    },
  }
}

function scattered(): Guest {
  const memory = pattern(
    41,
    SCATTERED.reduce((sum, { size }) => sum + size, 0),
  )
  const views = viewsOf(SCATTERED, memory)
  const checkpoint = writeMemory(join(temporaryDirectory(), 'guest'), SCATTERED, memory)
  return { checkpoint, expected: () => views, share: 0.4, flags: constants.O_DIRECT }
}

/**
 * Here the kernel may read physmem.raw from the evidence by itself. What is read past all caches is up to the filesystem that
 * the evidence is on then, which wants whole blocks.
 */
function flat(): Guest {
  const memory = pattern(31, 3 * 1024 * 1024 + PAGE)
  const views = viewsOf([{ address: 0, image: 0, size: memory.length }], memory)
  const checkpoint = writeMemory(join(temporaryDirectory(), 'guest'), [], memory)
  return { checkpoint, expected: () => views, share: 0.2, flags: 0 }
}

function viewsOf(regions: typeof SCATTERED, memory: Buffer): Expected {
  return new Map([
    ['physmem.raw', rawOf(regions, memory)],
    ['physmem.elf', elfOf(elfHead(regions), regions, memory)],
    ['physmem.lime', limeOf(regions, memory)],
  ])
}

function whole(bytes: Buffer): SparseData {
  return { size: bytes.length, pieces: [{ offset: 0, bytes }] }
}

/** Half of them in large files; each is about a place where a piece begins or ends, or that systems count by. */
function randomReads(count: number, files: readonly SparseData[]): Read[] {
  const large = [...files.keys()].filter((file) => (files[file] as SparseData).size > LARGE)
  const seams = files.map(({ size, pieces }) => [
    ...new Set([size, ...pieces.flatMap(({ offset, bytes }) => [offset, offset + bytes.length])]),
  ])
  const numbers = pattern(77, count * NUMBERS_A_READ * 4)
  let used = 0
  const below = (limit: number) => numbers.readUInt32LE(4 * used++) % limit
  const among = (choice: readonly number[]) => choice[below(choice.length)] as number
  return Array.from({ length: count }, () => {
    const file = below(2) === 0 ? among(large) : below(files.length)
    const { size } = files[file] as SparseData
    // A few ask for more than any one request of the kernel's.
    const wanted = 1 + below(2 ** (below(256) === 0 ? 22 : below(17)))
    const unit = among(UNITS)
    const place = below(2) === 0 ? among(seams[file] as number[]) : below(Math.floor(size / unit) + 1) * unit
    // From one that begins right behind the place to one that ends there.
    const offset = Math.max(place + 1 - below(wanted + 2), 0)
    return [file, offset, wanted]
  })
}

/** Of each file two digests: of every second read through the cache of the mount, and of those with flags. */
function digestsOf(reads: readonly Read[], files: readonly SparseData[]): string[][] {
  const parts: [Buffer[], Buffer[]][] = files.map(() => [[], []])
  for (const [index, [file, offset, size]] of reads.entries()) {
    parts[file]?.[index % 2]?.push(slice(files[file] as SparseData, offset, size))
  }
  return parts.map((ways) => ways.map((bytes) => sha256(...bytes)))
}

function digests(paths: readonly string[], found: readonly string[][]): string[] {
  return paths.map((path, file) => `${path}: ${found[file]?.join(' ')}`)
}

/** At most `count` bytes from `offset` on. */
function slice({ size, pieces }: SparseData, offset: number, count: number): Buffer {
  const found = Buffer.alloc(Math.max(Math.min(count, size - offset), 0))
  for (const piece of pieces) {
    const start = Math.max(piece.offset, offset)
    const end = Math.min(piece.offset + piece.bytes.length, offset + found.length)
    if (start < end) {
      found.set(piece.bytes.subarray(start - piece.offset, end - piece.offset), start - offset)
    }
  }
  return found
}

/** Reads what the list says, every second time with its flags. */
const READER = `
  const { constants, openSync, readFileSync, readSync } = require('node:fs')
  const { createHash } = require('node:crypto')
  const { paths, reads, flags } = JSON.parse(readFileSync(process.argv[1], 'utf8'))
  const waysOf = (path) =>
    [0, flags].map((flag) => ({ descriptor: openSync(path, constants.O_RDONLY | flag), hash: createHash('sha256') }))
  const files = paths.map(waysOf)
  const buffer = Buffer.alloc(Math.max(...reads.map(([, , size]) => size)))
  reads.forEach(([file, offset, size], index) => {
    const { descriptor, hash } = files[file][index % 2]
    hash.update(buffer.subarray(0, readSync(descriptor, buffer, 0, size, offset)))
  })
  process.stdout.write(JSON.stringify(files.map((ways) => ways.map(({ hash }) => hash.digest('hex')))))`
