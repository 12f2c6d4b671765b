import { type Checkpoint, findTag, tagsNamed } from '../checkpoint/parse.ts'
import { numberOf } from '../checkpoint/values.ts'
import { hex } from '../evidence/errors.ts'
import type { EvidenceFile } from '../evidence/file.ts'

const PAGE_SIZE = 4096
const MEBIBYTE = 1024 * 1024

/** Up to here the RAM of an x86 machine is one region; more of it begins at 4 GiB, behind the space of its devices. */
export const LOW_MEMORY_END = 0xc000_0000
const HIGH_MEMORY_START = 0x1_0000_0000

/** `Checkpoint/Platform` of an ARM64 machine, and where its RAM begins. */
const PLATFORM_ARM64 = 3
const ARM64_RAM_START = 0x8000_0000

/** A region as it is declared, by tags or for want of them: `size` bytes of the image from `imageOffset` on appear at `address`. */
export interface Declared {
  readonly name: string
  readonly address: number
  readonly imageOffset: number
  readonly size: number
}

/** Takes note of something that is not as it should be; the offset is in the file, which is the checkpoint unless it is said. */
export type Report = (expected: string, found: string, offset?: number, file?: EvidenceFile) => void

/**
 * The regions that the tags declare, by address; undefined if there are no such tags and none are promised. What a damaged
 * tag leaves open is left out: a guessed region would put bytes at addresses where the guest did not have them.
 */
export function declaredRegions(checkpoint: Checkpoint, report: Report): Declared[] | undefined {
  const pageNums = pagesByIndex(checkpoint, 'regionPageNum', report)
  const ppns = pagesByIndex(checkpoint, 'regionPPN', report)
  const sizes = pagesByIndex(checkpoint, 'regionSize', report)
  const indices = [...new Set([...pageNums.keys(), ...ppns.keys(), ...sizes.keys()])].sort((a, b) => a - b)
  const countTag = findTag(checkpoint, 'memory', 'regionsCount')
  const count = countTag === undefined ? 0 : Number(numberOf(countTag))
  if (indices.length === 0 && count === 0) {
    return undefined
  }
  if (count !== indices.length) {
    report(`the tags of ${count} regions, as regionsCount says`, `those of ${indices.length}`, countTag?.offset)
  }
  const regions: Declared[] = []
  for (const index of indices) {
    const [pageNum, ppn, size] = [pageNums.get(index), ppns.get(index), sizes.get(index)]
    if (pageNum === undefined || ppn === undefined || size === undefined) {
      const missing = pageNum === undefined ? 'regionPageNum' : ppn === undefined ? 'regionPPN' : 'regionSize'
      report(`${missing}[${index}] of region ${index}`, 'no usable tag: the region is left out')
    } else if ([ppn + size, pageNum + size].some((pages) => !Number.isSafeInteger(pages * PAGE_SIZE))) {
      report(
        `region ${index} below 2^53`,
        `page ${hex(ppn)}, image page ${hex(pageNum)}, ${size} pages: it is left out`,
      )
    } else {
      const [address, imageOffset] = [ppn * PAGE_SIZE, pageNum * PAGE_SIZE]
      regions.push({ name: `region ${index}`, address, imageOffset, size: size * PAGE_SIZE })
    }
  }
  return regions.sort((a, b) => a.address - b.address)
}

/** The values, in pages, of all tags `memory/<name>[i]`: 4 or 8 bytes wide, which no name tells. */
function pagesByIndex(checkpoint: Checkpoint, name: string, report: Report): Map<number, number> {
  const pages = new Map<number, number>()
  for (const tag of tagsNamed(checkpoint, 'memory', name)) {
    const [index, ...deeper] = tag.indices
    const value = numberOf(tag)
    if (index === undefined || deeper.length > 0 || value === undefined) {
      report(
        `${name}[i] with a value of 4 or 8 bytes`,
        `${tag.indices.length} indices and ${tag.size} bytes`,
        tag.offset,
      )
    } else if (pages.has(index)) {
      report(`one ${name}[${index}]`, `another, ${hex(value)}, which is not used`, tag.offset)
    } else {
      pages.set(index, Number(value))
    }
  }
  return pages
}

/**
 * The one region of a machine without region tags: what every genuine machine of up to 3 GiB has. All that the evidence has
 * is shown, and what memSize promises beyond that is refused.
 */
export function wholeImage(checkpoint: Checkpoint, imageSize: number, report: Report): Declared {
  const size = Math.max(imageSize, memSizeOf(checkpoint) ?? 0)
  if (isArm64(checkpoint)) {
    return { name: 'the image', address: ARM64_RAM_START, imageOffset: 0, size }
  }
  if (size > LOW_MEMORY_END) {
    report(
      `region tags for an image of more than ${LOW_MEMORY_END} bytes`,
      `none: all ${size} bytes are shown from address 0 on`,
    )
  }
  return { name: 'the image', address: 0, imageOffset: 0, size }
}

/** Whether the machine is one of ARM64; other values of the platform tell no architecture. */
export function isArm64(checkpoint: Checkpoint): boolean {
  const platform = findTag(checkpoint, 'Checkpoint', 'Platform')
  return platform !== undefined && numberOf(platform) === PLATFORM_ARM64
}

/** How an x86 machine of VMware lays out its RAM by default: nothing between 3 and 4 GiB. */
export function assumedRegions(imageSize: number): Declared[] {
  const low = Math.min(imageSize, LOW_MEMORY_END)
  return [
    { name: 'low memory', address: 0, imageOffset: 0, size: low },
    { name: 'high memory', address: HIGH_MEMORY_START, imageOffset: low, size: imageSize - low },
  ]
}

/** How large the image should be, by the region tags, or by memSize; undefined if neither tells. */
export function expectedImageSize(checkpoint: Checkpoint): number | undefined {
  const regions = declaredRegions(checkpoint, () => undefined)
  return regions === undefined
    ? memSizeOf(checkpoint)
    : regions.reduce((end, { imageOffset, size }) => Math.max(end, imageOffset + size), 0)
}

/** `Checkpoint/memSize`, which is in MiB, as bytes. */
export function memSizeOf(checkpoint: Checkpoint): number | undefined {
  const tag = findTag(checkpoint, 'Checkpoint', 'memSize')
  const size = tag === undefined ? undefined : Number(numberOf(tag)) * MEBIBYTE
  return Number.isSafeInteger(size) ? size : undefined
}
