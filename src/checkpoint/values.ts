import type { Tag } from './parse.ts'

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
