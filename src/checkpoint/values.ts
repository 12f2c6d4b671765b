import type { EvidenceFile } from '../evidence/file.ts'
import { decodeName } from '../evidence/printable.ts'
import type { Tag } from './parse.ts'

/** What of a text is looked at, in bytes. Genuine texts, but for whole files, have fields of 256. */
const TEXT_LIMIT = 4096

/** The unsigned number that an inline value of 1, 2, 4 or 8 bytes is; undefined for every other tag. */
export function numberOf(tag: Tag): number | bigint | undefined {
  if (tag.kind !== 'inline') {
    return undefined
  }
  const bytes = Buffer.from(tag.bytes.buffer, tag.bytes.byteOffset, tag.size)
  switch (tag.size) {
    case 1:
    case 2:
    case 4:
      return bytes.readUIntLE(0, tag.size)
    case 8:
      return bytes.readBigUInt64LE()
    default:
      return undefined
  }
}

/**
 * The bytes `[start, end)` of a tag's data; the caller bounds their number. Undefined if the data has no such bytes, or is
 * compressed, or the file ends before.
 *
 * @throws EvidenceError `unreadable`, `changed`
 */
export function readValue(file: EvidenceFile, tag: Tag, start: number, end: number): Buffer | undefined {
  if (tag.kind === 'compressed' || end > tag.size || tag.offset + end > file.size) {
    return undefined
  }
  if (tag.kind === 'inline') {
    return Buffer.from(tag.bytes.subarray(start, end))
  }
  const bytes = Buffer.alloc(end - start)
  file.read(bytes, tag.offset + start)
  return bytes
}

/**
 * The text in a field of fixed size: up to its first NUL, and of a larger one the first 4 KiB; as {@link decodeName} gives it.
 * Undefined as in {@link readValue}.
 *
 * @throws EvidenceError `unreadable`, `changed`
 */
export function readText(file: EvidenceFile, tag: Tag): string | undefined {
  const bytes = readValue(file, tag, 0, Math.min(tag.size, TEXT_LIMIT))
  const nul = bytes?.indexOf(0) ?? -1
  return bytes && decodeName(nul === -1 ? bytes : bytes.subarray(0, nul))
}
