/** What is mounted to be measured. It is written by the builder of the tests, so the program has no part in it. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type GroupSpec, type TagSpec, u32, u64, writeCheckpoint, writeSparse } from '../../test/support/checkpoint.ts'
import { pattern } from '../../test/support/mount.ts'
import { makeCpuTags } from '../example/cpu.ts'

export const PAGE = 4096
export const MEBIBYTE = 2 ** 20
export const GIBIBYTE = 2 ** 30

/** Bytes of memory of the flat guest, and of the hole. */
export const FLAT_SIZE = GIBIBYTE / 2
export const HOLE_SIZE = GIBIBYTE

/** What stands once in the memory of the flat guest. */
export const NEEDLE = 'here is the needle that is looked for'

/** What the memory's view as an ELF core needs. */
const CPU = { name: 'cpu', tags: makeCpuTags() }

/** A guest, and the same bytes as a file for those who know nothing of checkpoints. */
export interface Evidence {
  readonly checkpoint: string
  /** The bytes from `offset` on are what physmem.raw begins with. A guest without memory has none. */
  readonly image?: { readonly path: string; readonly offset: number }
  /** Whether physmem.raw is the image, so that the kernel can read it by itself. */
  readonly isFlat: boolean
}

/** A guest whose memory lies in a .vmem as it is: no page is zero, and no two are alike. */
export function makeFlat(directory: string): Evidence {
  const checkpoint = join(directory, 'flat.vmss')
  const path = join(directory, 'flat.vmem')
  const memSize = { name: 'memSize', value: u32(FLAT_SIZE / MEBIBYTE) }
  writeCheckpoint(checkpoint, { groups: [{ name: 'Checkpoint', tags: [memSize] }, CPU, memoryGroup([])] })
  const descriptor = openSync(path, 'w')
  const block = pattern(1, MEBIBYTE)
  for (let offset = 0; offset < FLAT_SIZE; offset += block.length) {
    for (let at = 0; at < block.length; at += PAGE) {
      block.writeUInt32LE((offset + at) / PAGE, at)
    }
    writeSync(descriptor, block, 0, block.length, offset)
  }
  writeSync(descriptor, `\n${NEEDLE}\n`, FLAT_SIZE / 2 + 100)
  // Or the system would write it while we measure.
  fdatasyncSync(descriptor)
  closeSync(descriptor)
  return { checkpoint, image: { path, offset: 0 }, isFlat: true }
}

/** A guest whose memory begins behind a hole; the image is a sparse file of the size of the hole. */
export function makeHole(directory: string): Evidence {
  const checkpoint = join(directory, 'hole.vmss')
  const path = join(directory, 'hole.raw')
  const memory = { name: 'Memory', indices: [0, 0], block: pattern(2, MEBIBYTE) }
  writeCheckpoint(checkpoint, { groups: [CPU, memoryGroup([[HOLE_SIZE, MEBIBYTE]], memory)] })
  writeSparse(path, { size: HOLE_SIZE, pieces: [] })
  return { checkpoint, image: { path, offset: 0 }, isFlat: false }
}

/** A guest of 128 GiB, all of them a hole in the checkpoint's file, with 10,000 tags. */
export function makeLarge(directory: string): Evidence {
  const checkpoint = join(directory, 'large.vmss')
  const low = 3 * GIBIBYTE
  const size = 128 * GIBIBYTE
  const memory = { name: 'Memory', indices: [0, 0], block: { size, pieces: [] } }
  const regions = [[0, low] as const, [4 * GIBIBYTE, size - low] as const]
  const placed = writeCheckpoint(checkpoint, { groups: [CPU, memoryGroup(regions, memory), ...deviceGroups(10_000)] })
  const offset = placed.find(({ name }) => name === 'Memory')?.offset ?? 0
  return { checkpoint, image: { path: checkpoint, offset }, isFlat: false }
}

/** A checkpoint of so many tags, and no memory. */
export function makeTags(directory: string, count: number): Evidence {
  const checkpoint = join(directory, `tags-${count}.vmsn`)
  writeCheckpoint(checkpoint, { groups: deviceGroups(count) })
  return { checkpoint, isFlat: false }
}

/** Regions are pairs of address and size, in bytes; their order is that of their bytes in the image. */
function memoryGroup(regions: readonly (readonly [number, number])[], ...others: TagSpec[]): GroupSpec {
  let imagePage = 0
  const tags = regions.flatMap(([address, size], region): TagSpec[] => {
    const pageNum = imagePage
    imagePage += size / PAGE
    return [
      { name: 'regionPageNum', indices: [region], value: u64(pageNum) },
      { name: 'regionPPN', indices: [region], value: u64(address / PAGE) },
      { name: 'regionSize', indices: [region], value: u64(size / PAGE) },
    ]
  })
  return { name: 'memory', tags: [{ name: 'regionsCount', value: u32(regions.length) }, ...tags, ...others] }
}

/** As in genuine files most tags are numbers, and few are blocks; 100 in a group. */
function deviceGroups(count: number): GroupSpec[] {
  const groupSize = 100
  return Array.from({ length: Math.ceil(count / groupSize) }, (_, group) => ({
    name: `device${group}`,
    tags: Array.from({ length: Math.min(groupSize, count - group * groupSize) }, (_, tag): TagSpec => {
      const name = `register${tag >> 2}`
      const indices = [tag & 3]
      return tag % 50 === 49 ? { name, indices, block: pattern(tag, PAGE) } : { name, indices, value: u32(tag) }
    }),
  }))
}
