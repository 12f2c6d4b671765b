import { findVmem } from '../checkpoint/companions.ts'
import { ENCRYPTED_MAGIC, encrypted } from '../checkpoint/encrypted.ts'
import { type Checkpoint, findTag, tagsNamed } from '../checkpoint/parse.ts'
import { EvidenceError } from '../evidence/errors.ts'
import { type Piece, rangeOf } from '../evidence/extents.ts'
import { type EvidenceFile, exists, openEvidence } from '../evidence/file.ts'

/** Where the guest's RAM lies in the evidence, packed without holes: the bytes `[offset, offset + size)` of the file. */
export interface Image {
  readonly kind: 'inline' | 'companion'
  readonly file: EvidenceFile
  readonly offset: number
  readonly size: number
}

/** A compressed .vmem is a row of records: sizes before and after compression, each with a zero word behind, and a stream. */
const RECORD_HEADER_SIZE = 16
const FULL_RECORD_SIZE = 4 * 1024 * 1024

/**
 * Finds the bytes of the guest's RAM: the block `memory/Memory` of the checkpoint, or the .vmem beside it. Undefined if the
 * checkpoint was taken without memory.
 *
 * @throws EvidenceError `companion-missing`, `encrypted`, `unsupported` (compressed), `unreadable`.
 */
export function openImage(checkpoint: Checkpoint): Image | undefined {
  const { file } = checkpoint
  const tag = findTag(checkpoint, 'memory', 'Memory', 0, 0) ?? tagsNamed(checkpoint, 'memory', 'Memory').next().value
  if (tag?.kind === 'compressed') {
    throw compressed(file, tag.offset, `a compressed block of ${tag.size} bytes`)
  }
  if (tag?.kind === 'plain' && tag.size > 0) {
    return { kind: 'inline', file, offset: tag.offset, size: tag.size }
  }
  if (!checkpoint.groups.some((group) => group.name === 'memory')) {
    return undefined
  }
  const { path, wanted } = findVmem(file.path)
  if (path === undefined) {
    throw missing(file.path, `its memory in ${wanted} (in any mixture of cases)`)
  }
  return openVmem(path)
}

/**
 * Opens a .vmem: all of it is the image.
 *
 * @throws EvidenceError `companion-missing`, `encrypted`, `unsupported` (compressed), `unreadable`.
 */
export function openVmem(path: string): Image {
  if (!exists(path)) {
    throw missing(path, 'the memory of the checkpoint')
  }
  const file = openEvidence(path)
  try {
    refuseUnlessPlain(file)
  } catch (error) {
    file.close()
    throw error
  }
  return { kind: 'companion', file, offset: 0, size: file.size }
}

/** The bytes `[offset, offset + size)` of the image; what lies beyond its end is refused. */
export function bytesOf(image: Image, offset: number, size: number): Piece[] {
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

/** RAM has no magic of its own, so this looks for what a .vmem that is not plain RAM begins with. */
function refuseUnlessPlain(file: EvidenceFile): void {
  if (file.size < RECORD_HEADER_SIZE) {
    return
  }
  const head = Buffer.alloc(RECORD_HEADER_SIZE)
  file.read(head, 0)
  if (head.readUInt32LE(0) === ENCRYPTED_MAGIC) {
    throw encrypted(file, 'memory in the clear')
  }
  // A single such header could be RAM; two, the second where the first one says, are not.
  const first = recordSizeAt(file, 0)
  if (first !== undefined && (first === file.size || recordSizeAt(file, first) !== undefined)) {
    throw compressed(file, 0, `records of ${FULL_RECORD_SIZE} bytes, compressed`)
  }
}

/** Size in the file of the compressed record at `offset`, with its header; undefined if there is none. */
function recordSizeAt(file: EvidenceFile, offset: number): number | undefined {
  if (offset + RECORD_HEADER_SIZE > file.size) {
    return undefined
  }
  const header = Buffer.alloc(RECORD_HEADER_SIZE)
  file.read(header, offset)
  const [size, zero, stored, zeroToo] = [0, 4, 8, 12].map((at) => header.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ]
  const isRecord = zero === 0 && zeroToo === 0 && size === FULL_RECORD_SIZE && stored > 0 && stored <= size
  return isRecord ? RECORD_HEADER_SIZE + stored : undefined
}

function missing(file: string, expected: string): EvidenceError {
  const hint = 'name the file with --vmem FILE, or go on without the memory with --no-memory'
  return new EvidenceError({ code: 'companion-missing', file, expected, found: 'no such file', hint })
}

function compressed(file: EvidenceFile, offset: number, found: string): EvidenceError {
  const hint = 'go on without the memory with --no-memory'
  return new EvidenceError({ code: 'unsupported', file: file.path, offset, expected: 'memory as it is', found, hint })
}
