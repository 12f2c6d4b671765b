import { type Checkpoint, tagsNamed } from '../checkpoint/parse.ts'
import { numberOf } from '../checkpoint/values.ts'
import { EvidenceError, hex } from '../evidence/errors.ts'
import type { Piece } from '../evidence/extents.ts'
import { bytesOf, type Image } from './image.ts'
import {
  assumedRegions,
  type Declared,
  declaredRegions,
  LOW_MEMORY_END,
  memSizeOf,
  type Report,
  wholeImage,
} from './regions.ts'

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
  /** What the regions rest on, where it is not the evidence. */
  readonly assumption?: string
  /** What is inconsistent; the bytes in question are refused, not guessed. */
  readonly problems: readonly EvidenceError[]
}

/** Which guest-physical addresses the image holds, by the region tags, or without them by the machine's platform. */
export function planMemory(checkpoint: Checkpoint, image: Image): Memory {
  const problems: EvidenceError[] = []
  const report: Report = (expected, found, offset, file = checkpoint.file) => {
    const finding = { code: 'damaged', file: file.path, expected, found } as const
    problems.push(new EvidenceError(offset === undefined ? finding : { ...finding, offset }))
  }
  const declared = declaredRegions(checkpoint, report) ?? [wholeImage(checkpoint, image.size, report)]
  checkSizes(checkpoint, image, declared, report)
  checkImage(checkpoint, image, declared, report)
  return { image, regions: disjoint(image, declared, report), problems }
}

/**
 * The same for an image of which nothing else is known: flat, or, unless `flat` forbids to assume it, split as the RAM of an
 * x86 machine is that has more than fits below its devices.
 */
export function planBareMemory(image: Image, flat: boolean): Memory {
  const split = !flat && image.size > LOW_MEMORY_END
  const assumption = split
    ? `an x86 machine, whose memory beyond ${hex(LOW_MEMORY_END)} begins at 4 GiB`
    : 'memory without holes from address 0 on'
  const declared = split
    ? assumedRegions(image.size)
    : [{ name: 'the image', address: 0, imageOffset: 0, size: image.size }]
  return { image, regions: disjoint(image, declared, () => undefined), assumption, problems: [] }
}

/** Reports sizes that contradict each other: of the image, of the regions, and memSize. */
function checkSizes(checkpoint: Checkpoint, image: Image, declared: readonly Declared[], report: Report): void {
  const needed = declared.reduce((end, { imageOffset, size }) => Math.max(end, imageOffset + size), 0)
  const total = declared.reduce((sum, { size }) => sum + size, 0)
  const memSize = memSizeOf(checkpoint)
  if (image.size !== needed) {
    const doubt = image.kind === 'companion' ? ': is it of this checkpoint?' : ''
    report(
      `a memory image of ${needed} bytes, as its regions need`,
      `${image.size} bytes${doubt}`,
      undefined,
      image.file,
    )
  }
  if (memSize !== undefined && total !== memSize) {
    report(`${memSize} bytes of memory, as memSize says`, `${total} bytes in its regions`)
  }
}

/** Reports what does not fit between the image and the regions, one line for each. */
function checkImage(checkpoint: Checkpoint, image: Image, declared: readonly Declared[], report: Report): void {
  let used = 0
  for (const { name, imageOffset, size } of [...declared].sort((a, b) => a.imageOffset - b.imageOffset)) {
    const end = imageOffset + size
    if (imageOffset < used && size > 0) {
      report(`${name} in a part of the image of its own`, `it begins at ${imageOffset}, before ${used}`)
    }
    used = Math.max(used, end)
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
