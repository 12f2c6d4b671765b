import { rangeOf } from '../evidence/extents.ts'
import type { EvidenceFile } from '../evidence/file.ts'

const LINE_SIZE = 16

/** Small enough for the text of a chunk to be an ordinary object to V8; larger ones are several times as slow. */
const CHUNK_SIZE = 16 * 1024

/** Digits of an offset, unless it needs more; the most that one can need. */
const OFFSET_DIGITS = 8
const MOST_OFFSET_DIGITS = 14

/** Columns from the end of the offset on: `: `, eight groups of two bytes with a blank between them, two blanks, the text. */
const [DIGITS_COLUMN, TEXT_COLUMN] = [2, 2 + 39 + 2]

const [LINE_FEED, DOT] = [0x0a, 0x2e]
const DIGITS = Buffer.from('0123456789abcdef')

/**
 * The bytes `[offset, offset + size)` of a file as xxd prints them, with their offsets in the file, and in the end a line
 * about those that the file does not have. Gives texts of many lines each, without the last line feed.
 *
 * @throws EvidenceError `unreadable`, `changed`
 */
export function* hexdump(file: EvidenceFile, offset: number, size: number, indent: string): Generator<string> {
  const buffer = Buffer.allocUnsafe(Math.min(size, CHUNK_SIZE))
  for (const piece of rangeOf(file, offset, size)) {
    if (piece.kind === 'refused') {
      yield indent + piece.why.message
      continue
    }
    for (let done = 0; done < piece.size; done += CHUNK_SIZE) {
      const chunk = buffer.subarray(0, piece.size - done)
      file.read(chunk, offset + done)
      yield dumpText(chunk, offset + done, indent)
    }
  }
}

/** Byte by byte into a buffer: with strings it takes several times as long. */
function dumpText(chunk: Uint8Array, offset: number, indent: string): string {
  const lineWidth = indent.length + MOST_OFFSET_DIGITS + TEXT_COLUMN + LINE_SIZE + 1
  const output = Buffer.alloc(Math.ceil(chunk.length / LINE_SIZE) * lineWidth, ' ')
  let end = 0
  for (let at = 0; at < chunk.length; at += LINE_SIZE) {
    const place = `${indent}${(offset + at).toString(16).padStart(OFFSET_DIGITS, '0')}:`
    output.write(place, end, 'latin1')
    const columns = end + place.length - 1
    let [digits, text] = [columns + DIGITS_COLUMN, columns + TEXT_COLUMN]
    for (let index = at; index < at + LINE_SIZE && index < chunk.length; index++) {
      const byte = chunk[index] as number
      output[digits] = DIGITS[byte >>> 4] as number
      output[digits + 1] = DIGITS[byte & 0xf] as number
      digits += index % 2 === 0 ? 2 : 3
      output[text++] = byte >= 0x20 && byte < 0x7f ? byte : DOT
    }
    output[text] = LINE_FEED
    end = text + 1
  }
  return output.toString('latin1', 0, end - 1)
}
