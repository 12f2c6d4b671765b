import type { Checkpoint, Tag } from '../checkpoint/parse.ts'
import { readValue } from '../checkpoint/values.ts'

/** The signature of a PNG, then its first chunk: a size, `IHDR`, and as big-endian numbers its width and height. */
const [TYPE, WIDTH, HEIGHT, END] = [12, 16, 20, 24]

/** In pixels. */
export interface PictureSize {
  readonly width: number
  readonly height: number
}

/**
 * How large the PNG in a tag says that it is; undefined if it ends before, or begins otherwise than a PNG does.
 *
 * @throws EvidenceError `unreadable`, `changed`
 */
export function readPictureSize(checkpoint: Checkpoint, tag: Tag): PictureSize | undefined {
  const head = readValue(checkpoint.file, tag, 0, END)
  if (head?.toString('latin1', TYPE, WIDTH) !== 'IHDR') {
    return undefined
  }
  return { width: head.readUInt32BE(WIDTH), height: head.readUInt32BE(HEIGHT) }
}
