/**
 * Guests of memory alone, and the files that a mount shows of it. Like the builder this shares nothing with the program:
 * headers are spelled out, and regions are put in their places.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type SparseData, u16, u32, u64, writeCheckpoint } from './checkpoint.ts'
import { memoryGroup, PAGE, type Region, vmemOf } from './guest.ts'
import { pattern } from './mount.ts'

const REGION_COUNT = 48
const LARGEST_REGION = 40 * PAGE
const LARGEST_HOLE = 30 * PAGE
const GIBIBYTE = 2 ** 30

/**
 * Many regions, of 1 to 40 pages and one of 1.5 MiB, in the image in another order than at their addresses; most with a
 * hole behind, and the last ones past 4 GiB.
 */
export const SCATTERED: readonly Region[] = scatteredRegions()

/**
 * Writes evidence of these regions and nothing else into a new folder that every user can read, and answers the path of the
 * checkpoint. Without any region the memory lies flat.
 */
export function writeMemory(folder: string, regions: readonly Region[], image: Uint8Array): string {
  mkdirSync(folder)
  const checkpoint = join(folder, 'memory.vmss')
  writeCheckpoint(checkpoint, { groups: [regions.length > 0 ? memoryGroup(regions) : { name: 'memory', tags: [] }] })
  writeFileSync(vmemOf(checkpoint), image)
  chmodSync(folder, 0o755)
  return checkpoint
}

/** physmem.raw: every region at its address. */
export function rawOf(regions: readonly Region[], image: Uint8Array): SparseData {
  return placed(regions.map((region) => ({ offset: region.address, bytes: bytesOf(region, image) })))
}

/** physmem.elf: what stands before the regions, then one behind the other, by ascending address. */
export function elfOf(head: Uint8Array, regions: readonly Region[], image: Uint8Array): SparseData {
  return concatenated([head, ...regions.map((region) => bytesOf(region, image))])
}

/** What stands before the regions in an ELF core without vCPUs: `Elf64_Ehdr`, `Elf64_Phdr`s (elf(5)), and zeros up to a page. */
export function elfHead(regions: readonly Region[]): Buffer {
  const [ET_CORE, EM_X86_64, EV_CURRENT, PT_LOAD, PT_NOTE] = [4, 62, 1, 1, 4]
  const [ehdrSize, phdrSize, count] = [64, 56, 1 + regions.length]
  const headersEnd = ehdrSize + phdrSize * count
  const start = Math.ceil(headersEnd / PAGE) * PAGE
  const fields = [
    Buffer.from('7f454c46020101000000000000000000', 'hex'),
    ...[u16(ET_CORE), u16(EM_X86_64), u32(EV_CURRENT), u64(0), u64(ehdrSize), u64(0), u32(0)],
    ...[u16(ehdrSize), u16(phdrSize), u16(count), u16(0), u16(0), u16(0)],
    ...[u32(PT_NOTE), u32(0), u64(headersEnd), u64(0), u64(0), u64(0), u64(0), u64(0)],
  ]
  let offset = start
  for (const { address, size } of regions) {
    fields.push(u32(PT_LOAD), u32(0), u64(offset), u64(address), u64(address), u64(size), u64(size), u64(0))
    offset += size
  }
  return Buffer.concat(fields, start)
}

/** physmem.lime: a header before every region: magic, version, first and last address, reserved. */
export function limeOf(regions: readonly Region[], image: Uint8Array): SparseData {
  return concatenated(
    regions.flatMap((region) => [
      Buffer.from('454d694c01000000', 'hex'),
      u64(region.address),
      u64(region.address + region.size - 1),
      u64(0),
      bytesOf(region, image),
    ]),
  )
}

function scatteredRegions(): Region[] {
  const numbers = pattern(12, REGION_COUNT * 8)
  const upTo = (most: number, index: number) => (numbers.readUInt32LE(index * 4) % (most / PAGE + 1)) * PAGE
  const regions: Region[] = []
  let address = 0
  for (let index = 0; index < REGION_COUNT; index++) {
    const size = index === 7 ? 384 * PAGE : PAGE + upTo(LARGEST_REGION - PAGE, 2 * index)
    address = index === REGION_COUNT - 4 ? 5 * GIBIBYTE : address
    regions.push({ address, image: 0, size })
    address += size + (index % 3 === 0 ? 0 : upTo(LARGEST_HOLE, 2 * index + 1))
  }
  // 29 and 48 have no common divisor, so this meets every region once.
  let image = 0
  for (let index = 0; index < REGION_COUNT; index++) {
    const region = regions[(index * 29 + 5) % REGION_COUNT] as Region
    region.image = image
    image += region.size
  }
  return regions
}

function bytesOf({ image: offset, size }: Region, image: Uint8Array): Uint8Array {
  return image.subarray(offset, offset + size)
}

function concatenated(parts: readonly Uint8Array[]): SparseData {
  let end = 0
  return placed(
    parts.map((bytes) => {
      const offset = end
      end += bytes.length
      return { offset, bytes }
    }),
  )
}

function placed(pieces: SparseData['pieces']): SparseData {
  return { size: Math.max(...pieces.map(({ offset, bytes }) => offset + bytes.length)), pieces }
}
