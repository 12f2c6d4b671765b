import type { Tag } from '../checkpoint/parse.ts'
import { numberOf, readValue } from '../checkpoint/values.ts'
import { hex } from '../evidence/errors.ts'
import type { EvidenceFile } from '../evidence/file.ts'
import { decodeName, printable } from '../evidence/printable.ts'

/** Larger data is not looked at for a text. Texts of VMware's are in fields of 256 bytes. */
const TEXT_SIZE = 256

/** What a listing shows of a tag's data, where it is short: at most one of the two, in neither case with control characters. */
export interface ShownValue {
  /** A number, `0x1c`, or a text. */
  readonly value?: string
  /** The bytes, in hexadecimal. */
  readonly bytes?: string
}

/**
 * The number that an inline value is, or the text, padded with NULs, that the data is, or the bytes of any other inline value.
 *
 * @throws EvidenceError `unreadable`, `changed`
 */
export function shownValue(file: EvidenceFile, tag: Tag): ShownValue {
  const number = numberOf(tag)
  if (number !== undefined) {
    return { value: hex(number) }
  }
  const bytes = tag.size > 0 && tag.size <= TEXT_SIZE ? readValue(file, tag, 0, tag.size) : undefined
  const text = bytes && paddedText(bytes)
  if (text !== undefined) {
    return { value: text }
  }
  return tag.kind === 'inline' && tag.size > 0 ? { bytes: Buffer.from(tag.bytes).toString('hex') } : {}
}

function paddedText(bytes: Uint8Array): string | undefined {
  const nul = bytes.indexOf(0)
  const end = nul === -1 ? bytes.length : nul
  const text = decodeName(bytes.subarray(0, end))
  const isText = end > 0 && text === printable(text) && bytes.subarray(end).every((byte) => byte === 0)
  return isText ? text : undefined
}
