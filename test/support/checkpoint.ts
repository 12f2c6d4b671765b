/**
 * Builds checkpoint files (.vmss, .vmsn) and memory files (.vmem) for tests.
 *
 * Everything here is spelled out from the format notes and nothing is shared with the program: a wrong table in a parser
 * that also built its own test data would never show.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'

/** `size` bytes that are zero but for the pieces. A piece lies at `[offset, offset + bytes.length)`; the rest is a hole. */
export interface SparseData {
  size: number
  pieces: { offset: number; bytes: Uint8Array }[]
}

/**
 * One tag. `indices` are 0 to 3 numbers, each written as 32 bits (a negative one as two's complement).
 * - `value`: inline, its width is its length, 0 to 61 bytes.
 * - `block`: a plain block (63). The `pad` bytes before the data are 0xAA, so that a reader that ignores the pad fails.
 * - `compressed`: a compressed block (62): the bytes on disk, and the size they are said to have in memory.
 */
export type TagSpec = { name: string | Uint8Array; indices?: number[] } & (
  | { value: Uint8Array }
  | { block: Uint8Array | SparseData; pad?: number }
  | { compressed: Uint8Array; sizeInMemory: number; pad?: number }
)

/** A group of tags, its name at most 64 bytes. */
export interface GroupSpec {
  name: string | Uint8Array
  tags: TagSpec[]
}

/** A checkpoint. The defaults are those of genuine files: magic 0xbed2bed2, version 8. Only 64-bit layouts can be built. */
export interface CheckpointSpec {
  magic?: number
  version?: number
  groups: GroupSpec[]
}

/** Where the data of a tag landed: file bytes `[offset, offset + size)`. Names are decoded as UTF-8. */
export interface PlacedTag {
  group: string
  name: string
  indices: number[]
  offset: number
  size: number
}

const HEADER_SIZE = 12
const GROUP_RECORD_SIZE = 80
const GROUP_NAME_SIZE = 64
const COMPRESSED = 62
const PLAIN = 63
const PAD_BYTE = 0xaa

/** One byte. Throws a RangeError if `n` does not fit, as all of these do. */
export function u8(n: number): Uint8Array {
  const bytes = Buffer.alloc(1)
  bytes.writeUInt8(n)
  return bytes
}

/** Two bytes, little-endian. */
export function u16(n: number): Uint8Array {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(n)
  return bytes
}

/** Four bytes, little-endian. */
export function u32(n: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(n)
  return bytes
}

/** Eight bytes, little-endian. */
export function u64(n: number | bigint): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(n))
  return bytes
}

/** The UTF-8 bytes of `s`, followed by NULs up to `size` bytes if one is given. Throws a RangeError if they do not fit. */
export function text(s: string, size?: number): Uint8Array {
  return padded(Buffer.from(s), size)
}

/**
 * Writes a checkpoint file, replacing one that exists: header, group table, the groups back to back in the given order
 * (each with its two-byte terminator, which its size includes), and the two zero bytes that follow the last group in
 * genuine files. Answers the place of every tag's data, in file order. Throws a RangeError if something does not fit.
 */
export function writeCheckpoint(path: string, spec: CheckpointSpec): PlacedTag[] {
  const output = new Output(path)
  try {
    // The table needs the sizes of the groups, so its room is skipped now and filled at the end.
    output.skip(HEADER_SIZE + GROUP_RECORD_SIZE * spec.groups.length)
    const placed: PlacedTag[] = []
    const table = [u32(spec.magic ?? 0xbed2bed2), u32(spec.version ?? 8), u32(spec.groups.length)]
    for (const group of spec.groups) {
      const position = output.offset
      for (const tag of group.tags) {
        const { offset, size } = writeTag(output, tag)
        placed.push({ group: nameText(group.name), name: nameText(tag.name), indices: tag.indices ?? [], offset, size })
      }
      output.put(u16(0))
      table.push(padded(Buffer.from(group.name), GROUP_NAME_SIZE), u64(position), u64(output.offset - position))
    }
    output.put(u16(0))
    output.putAt(0, Buffer.concat(table))
    return placed
  } finally {
    output.close()
  }
}

/** Writes a file of `data.size` bytes, replacing one that exists; what no piece covers becomes a hole in it. */
export function writeSparse(path: string, data: SparseData): void {
  const output = new Output(path)
  try {
    output.putSparse(data)
  } finally {
    output.close()
  }
}

function writeTag(output: Output, tag: TagSpec): { offset: number; size: number } {
  const name = Buffer.from(tag.name)
  const indices = tag.indices ?? []
  const sizeBits = 'value' in tag ? tag.value.length : 'block' in tag ? PLAIN : COMPRESSED
  if ('value' in tag && tag.value.length >= COMPRESSED) {
    throw new RangeError(`an inline value has at most 61 bytes, not ${tag.value.length}`)
  }
  if (indices.length > 3) {
    throw new RangeError(`a tag has at most 3 indices, not ${indices.length}`)
  }
  if (name.length === 0 && indices.length === 0 && sizeBits === 0) {
    throw new RangeError('a tag without name, indices and value would be the terminator of its group')
  }
  output.put(u8((indices.length << 6) | sizeBits))
  output.put(u8(name.length))
  output.put(name)
  for (const index of indices) {
    output.put(u32(index < 0 ? index + 2 ** 32 : index))
  }
  if ('value' in tag) {
    const offset = output.offset
    output.put(tag.value)
    return { offset, size: tag.value.length }
  }
  const data = 'block' in tag ? tag.block : tag.compressed
  const size = data instanceof Uint8Array ? data.length : data.size
  const pad = tag.pad ?? 0
  output.put(u64(size))
  output.put(u64('block' in tag ? size : tag.sizeInMemory))
  output.put(u16(pad))
  output.put(Buffer.alloc(pad, PAD_BYTE))
  const offset = output.offset
  if (data instanceof Uint8Array) {
    output.put(data)
  } else {
    output.putSparse(data)
  }
  return { offset, size }
}

function padded(bytes: Uint8Array, size: number = bytes.length): Uint8Array {
  if (bytes.length > size) {
    throw new RangeError(`${bytes.length} bytes do not fit in ${size}`)
  }
  const result = Buffer.alloc(size)
  result.set(bytes)
  return result
}

function nameText(name: string | Uint8Array): string {
  return Buffer.from(name).toString()
}

/** A file written front to back. Small writes are gathered, because tens of thousands of tags would be as many calls. */
class Output {
  /** Where the next byte goes. */
  offset = 0
  readonly #descriptor: number
  readonly #gathered = Buffer.alloc(1 << 20)
  #gatheredSize = 0

  constructor(path: string) {
    this.#descriptor = openSync(path, 'w')
  }

  put(bytes: Uint8Array): void {
    if (this.#gatheredSize + bytes.length > this.#gathered.length) {
      this.#flush()
    }
    if (bytes.length > this.#gathered.length) {
      this.putAt(this.offset, bytes)
    } else {
      this.#gathered.set(bytes, this.#gatheredSize)
      this.#gatheredSize += bytes.length
    }
    this.offset += bytes.length
  }

  putSparse(data: SparseData): void {
    const start = this.offset
    this.skip(data.size)
    for (const { offset, bytes } of data.pieces) {
      if (offset < 0 || offset + bytes.length > data.size) {
        throw new RangeError(`a piece at ${offset} of ${bytes.length} bytes is outside of ${data.size} bytes`)
      }
      this.putAt(start + offset, bytes)
    }
  }

  /** Leaves a hole of `size` bytes. */
  skip(size: number): void {
    this.#flush()
    this.offset += size
  }

  /** Writes somewhere else, without moving on. */
  putAt(offset: number, bytes: Uint8Array): void {
    let done = 0
    while (done < bytes.length) {
      done += writeSync(this.#descriptor, bytes, done, bytes.length - done, offset + done)
    }
  }

  close(): void {
    this.#flush()
    // Gives the file its size when it ends in a hole.
    ftruncateSync(this.#descriptor, this.offset)
    closeSync(this.#descriptor)
  }

  #flush(): void {
    this.putAt(this.offset - this.#gatheredSize, this.#gathered.subarray(0, this.#gatheredSize))
    this.#gatheredSize = 0
  }
}
