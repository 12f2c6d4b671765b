import { findVmem } from '../checkpoint/companions.ts'
import { type Checkpoint, findTag, tagsNamed } from '../checkpoint/parse.ts'
import { numberOf } from '../checkpoint/values.ts'
import { EvidenceError, hex } from '../evidence/errors.ts'
import { type Piece, rangeOf } from '../evidence/extents.ts'
import { type EvidenceFile, openEvidence } from '../evidence/file.ts'

const PAGE_SIZE = 4096
const MEBIBYTE = 1024 * 1024

/** Up to here the RAM of an x86 machine is one region; more of it begins at 4 GiB, behind the space of its devices. */
const LOW_MEMORY_END = 0xc000_0000

/** `Checkpoint/Platform` of an ARM64 machine, and where its RAM begins. */
const PLATFORM_ARM64 = 3
const ARM64_RAM_START = 0x8000_0000

/** Where the guest's RAM lies in the evidence, packed without holes: the bytes `[offset, offset + size)` of the file. */
export interface Image {
  readonly kind: 'inline' | 'companion'
  readonly file: EvidenceFile
  readonly offset: number
  readonly size: number
}

/** The guest-physical addresses `[address, address + size)`, and the bytes they hold. */
export interface Region {
  readonly address: number
  readonly size: number
  readonly pieces: readonly Piece[]
}

/** The guest's RAM: disjoint regions with ascending addresses. */
export interface Memory {
  readonly image: Image
  readonly regions: readonly Region[]
  /** What is inconsistent; the bytes in question are refused, not guessed. */
  readonly problems: readonly EvidenceError[]
}

/** A region as the tags declare it: `size` bytes of the image from `imageOffset` on appear at `address`. */
interface Declared {
  readonly name: string
  readonly address: number
  readonly imageOffset: number
  readonly size: number
}

/**
 * Finds the bytes of the guest's RAM: the block `memory/Memory` of the checkpoint, or the .vmem beside it, or `vmem` where
 * one is named. Undefined if the checkpoint was taken without memory.
 *
 * @throws EvidenceError `companion-missing`, `unsupported` (a compressed block), `unreadable`.
 */
export function openImage(checkpoint: Checkpoint, vmem: string | undefined): Image | undefined {
  if (vmem !== undefined) {
    return companion(openEvidence(vmem))
  }
  const { file } = checkpoint
  const tag = findTag(checkpoint, 'memory', 'Memory', 0, 0) ?? tagsNamed(checkpoint, 'memory', 'Memory').next().value
  if (tag?.kind === 'compressed') {
    throw new EvidenceError({
      code: 'unsupported',
      file: file.path,
      offset: tag.offset,
      expected: 'memory as it is',
      found: `a compressed block of ${tag.size} bytes`,
      hint: 'mount everything else with --no-memory',
    })
  }
  if (tag?.kind === 'plain' && tag.size > 0) {
    return { kind: 'inline', file, offset: tag.offset, size: tag.size }
  }
  if (!checkpoint.groups.some((group) => group.name === 'memory')) {
    return undefined
  }
  const { path, tried } = findVmem(file.path)
  if (path === undefined) {
    throw new EvidenceError({
      code: 'companion-missing',
      file: file.path,
      expected: `its memory in ${tried.join(' or ')} (in any mixture of cases)`,
      found: 'no such file',
      hint: 'name the file with --vmem FILE, or mount everything else with --no-memory',
    })
  }
  return companion(openEvidence(path))
}

/** Which guest-physical addresses the image holds, by the region tags, or without them by the machine's platform. */
export function planMemory(checkpoint: Checkpoint, image: Image): Memory {
  const problems: EvidenceError[] = []
  const report = (expected: string, found: string, offset?: number, file = checkpoint.file) => {
    const finding = { code: 'damaged', file: file.path, expected, found } as const
    problems.push(new EvidenceError(offset === undefined ? finding : { ...finding, offset }))
  }
  const memSize = memSizeOf(checkpoint)
  const declared = declaredRegions(checkpoint, report) ?? [wholeImage(checkpoint, image, memSize, report)]
  checkImage(checkpoint, image, declared, report)
  const total = declared.reduce((sum, { size }) => sum + size, 0)
  if (memSize !== undefined && total !== memSize) {
    report(`${memSize} bytes of memory, as memSize says`, `${total} bytes`)
  }
  return { image, regions: disjoint(image, declared, report), problems }
}

type Report = (expected: string, found: string, offset?: number, file?: EvidenceFile) => void

function companion(file: EvidenceFile): Image {
  return { kind: 'companion', file, offset: 0, size: file.size }
}

/** `Checkpoint/memSize`, which is in MiB, as bytes. */
function memSizeOf(checkpoint: Checkpoint): number | undefined {
  const tag = findTag(checkpoint, 'Checkpoint', 'memSize')
  const size = tag === undefined ? undefined : Number(numberOf(tag)) * MEBIBYTE
  return Number.isSafeInteger(size) ? size : undefined
}

/** The one region of a machine without region tags: what every genuine machine of up to 3 GiB has. */
function wholeImage(checkpoint: Checkpoint, image: Image, memSize: number | undefined, report: Report): Declared {
  // All that the evidence has is shown, and what memSize promises beyond that is refused.
  const size = Math.max(image.size, memSize ?? 0)
  const platform = findTag(checkpoint, 'Checkpoint', 'Platform')
  if (platform !== undefined && numberOf(platform) === PLATFORM_ARM64) {
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

/**
 * The regions that the tags declare, by address; undefined if there are no such tags and none are promised. What a damaged
 * tag leaves open is left out: a guessed region would put bytes at addresses where the guest did not have them.
 */
function declaredRegions(checkpoint: Checkpoint, report: Report): Declared[] | undefined {
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

/** Reports what does not fit between the image and the regions, one line for each. */
function checkImage(checkpoint: Checkpoint, image: Image, declared: readonly Declared[], report: Report): void {
  let used = 0
  for (const { name, imageOffset, size } of [...declared].sort((a, b) => a.imageOffset - b.imageOffset)) {
    const end = imageOffset + size
    if (end > image.size) {
      report(`${name} inside the image of ${image.size} bytes`, `one that ends at ${end}`, undefined, image.file)
    }
    if (imageOffset < used && size > 0) {
      report(`${name} in a part of the image of its own`, `it begins at ${imageOffset}, before ${used}`)
    }
    used = Math.max(used, end)
  }
  if (used < image.size) {
    report(`an image of ${used} bytes, as the regions need`, `${image.size - used} more`, undefined, image.file)
  }
  const alignMask = [...tagsNamed(checkpoint, 'memory', 'align_mask')][0]
  const mask = alignMask && numberOf(alignMask)
  if (mask !== undefined && (BigInt(image.offset) & BigInt(mask)) !== 0n) {
    report(`memory aligned by align_mask ${hex(mask)}`, `memory at ${hex(image.offset)}`, image.offset)
  }
  const blocks = [...tagsNamed(checkpoint, 'memory', 'Memory')]
  if (blocks.length > 1) {
    report('one block memory/Memory', `${blocks.length}: the one at ${hex(image.offset)} is used`, blocks[1]?.offset)
  }
}

/**
 * Cuts the declared regions into disjoint ones. Addresses that two of them claim are refused: nothing says whose bytes are right.
 *
 * A sweep over all boundaries: between two of them, `depth` regions cover the addresses, and where that is one, the exclusive
 * or of the numbers of all that are open is the number of that one.
 */
function disjoint(image: Image, declared: readonly Declared[], report: Report): Region[] {
  const boundaries = declared
    .flatMap(({ address, size }, number) => [
      { address, number, step: 1 },
      { address: address + size, number, step: -1 },
    ])
    .sort((a, b) => a.address - b.address)
  const regions: Region[] = []
  let depth = 0
  let open = 0
  let start = 0
  for (const { address, number, step } of boundaries) {
    const size = address - start
    if (size > 0 && depth === 1) {
      const region = declared[open] as Declared
      const pieces = bytesOf(image, region.imageOffset + (start - region.address), size)
      regions.push({ address: start, size, pieces })
    } else if (size > 0 && depth > 1) {
      const range = `[${hex(start)}, ${hex(address)})`
      const finding = { code: 'damaged', file: image.file.path, expected: `one region at ${range}` } as const
      const why = new EvidenceError({ ...finding, found: `${depth} that claim it` })
      report(`one region at ${range}`, `${depth} that claim it: its bytes are refused`)
      regions.push({ address: start, size, pieces: [{ kind: 'refused', why, size }] })
    }
    start = address
    depth += step
    open ^= number
  }
  return regions
}

/** The bytes `[offset, offset + size)` of the image; what lies beyond its end is refused. */
function bytesOf(image: Image, offset: number, size: number): Piece[] {
  const present = Math.min(Math.max(image.size - offset, 0), size)
  const range = present > 0 ? rangeOf(image.file, image.offset + offset, present) : []
  if (present === size) {
    return range
  }
  const why = new EvidenceError({
    code: 'truncated',
    file: image.file.path,
    offset: image.offset + offset + present,
    expected: `${size - present} more bytes of the guest's memory`,
    found: `the end of the image at ${image.size}`,
  })
  return [...range, { kind: 'refused', why, size: size - present }]
}
