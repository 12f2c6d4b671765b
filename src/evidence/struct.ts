import { EvidenceError, hex } from './errors.ts'
import type { Window } from './window.ts'

/** One field of a record: how many bytes it takes, and how they are read and written. */
export interface Field<T> {
  readonly size: number
  get(bytes: Buffer, at: number): T
  /** Writes all of its bytes. A value that the field cannot hold is a RangeError. */
  put(bytes: Buffer, at: number, value: T): void
}

/** The values of a record, named as its fields are. */
export type Values<Fields> = { [Name in keyof Fields]: Fields[Name] extends Field<infer T> ? T : never }

/** Numbers are little-endian, as those of every format here are; `u` unsigned, `i` with a sign. */
export const u8: Field<number> = {
  size: 1,
  get: (bytes, at) => bytes.readUInt8(at),
  put: (bytes, at, value) => bytes.writeUInt8(value, at),
}
export const u16: Field<number> = {
  size: 2,
  get: (bytes, at) => bytes.readUInt16LE(at),
  put: (bytes, at, value) => bytes.writeUInt16LE(value, at),
}
export const u32: Field<number> = {
  size: 4,
  get: (bytes, at) => bytes.readUInt32LE(at),
  put: (bytes, at, value) => bytes.writeUInt32LE(value, at),
}
export const i32: Field<number> = {
  size: 4,
  get: (bytes, at) => bytes.readInt32LE(at),
  put: (bytes, at, value) => bytes.writeInt32LE(value, at),
}
/** A number from 2^53 on is inexact here: {@link Struct.decode} refuses it, and it cannot be written. */
export const u64: Field<number> = {
  size: 8,
  get: (bytes, at) => bytes.readUInt32LE(at + 4) * 0x1_0000_0000 + bytes.readUInt32LE(at),
  put(bytes, at, value) {
    if (!Number.isSafeInteger(value)) {
      throw new RangeError(`expected a whole number below 2^53, found ${value}`)
    }
    bytes.writeUInt32LE(value % 0x1_0000_0000, at)
    bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4)
  },
}
/** The same where every one of the 64 bits counts. */
export const u64big: Field<bigint> = {
  size: 8,
  get: (bytes, at) => bytes.readBigUInt64LE(at),
  put: (bytes, at, value) => bytes.writeBigUInt64LE(value, at),
}

/** Bytes as they are, and a copy of them; a shorter value is padded with zeros. */
export function raw(size: number): Field<Uint8Array> {
  return {
    size,
    get: (bytes, at) => new Uint8Array(bytes.subarray(at, at + size)),
    put: (bytes, at, value) => putPadded(bytes.subarray(at, at + size), value),
  }
}

/** Text of a fixed size, cut at its first NUL; the bytes are a copy. Written, it may fill its field, without any NUL. */
export function nulPadded(size: number): Field<Uint8Array> {
  return {
    size,
    get(bytes, at) {
      const field = bytes.subarray(at, at + size)
      const nul = field.indexOf(0)
      return new Uint8Array(nul === -1 ? field : field.subarray(0, nul))
    },
    put: (bytes, at, value) => putPadded(bytes.subarray(at, at + size), value),
  }
}

/** A record as a table of its fields, in the order in which they stand in the file, without padding between them. */
export class Struct<Fields extends Record<string, Field<unknown>>> {
  /** Size of the record in bytes. */
  readonly size: number
  readonly #fields: [string, Field<unknown>][]

  constructor(fields: Fields) {
    this.#fields = Object.entries(fields)
    this.size = this.#fields.reduce((sum, [, field]) => sum + field.size, 0)
  }

  /** Where the field begins, in bytes from the start of the record. */
  offsetOf(name: keyof Fields & string): number {
    let at = 0
    for (const [other, field] of this.#fields) {
      if (other === name) {
        return at
      }
      at += field.size
    }
    throw new RangeError(`expected the name of a field, found ${name}`)
  }

  /**
   * The record at `offset` of the window's file.
   *
   * @throws EvidenceError `truncated` past the end of the file, `damaged` for a number that is beyond 2^53.
   */
  decode(window: Window, offset: number): Values<Fields> {
    const bytes = window.bytes(offset, this.size)
    return this.#decode(bytes, 0, (name, at) => {
      throw new EvidenceError({
        code: 'damaged',
        file: window.file.path,
        offset: offset + at,
        expected: `${name} below 2^53`,
        found: hex(bytes.readBigUInt64LE(at)),
      })
    })
  }

  /**
   * The record that begins at byte `at` of bytes in hand.
   *
   * @throws RangeError if they end before it does, or for a number that is beyond 2^53.
   */
  decodeBytes(bytes: Buffer, at = 0): Values<Fields> {
    if (at + this.size > bytes.length) {
      throw new RangeError(`expected a record of ${this.size} bytes, found ${Math.max(bytes.length - at, 0)}`)
    }
    return this.#decode(bytes, at, (name) => {
      throw new RangeError(`expected ${name} below 2^53`)
    })
  }

  /**
   * The record's bytes.
   *
   * @throws RangeError for a value that its field cannot hold.
   */
  encode(values: Values<Fields>): Buffer {
    const bytes = Buffer.alloc(this.size)
    this.encodeInto(bytes, 0, values)
    return bytes
  }

  /**
   * Writes the record's bytes from byte `at` on, and returns where they end.
   *
   * @throws RangeError for a value that its field cannot hold, or if there is no room.
   */
  encodeInto(bytes: Buffer, at: number, values: Values<Fields>): number {
    if (at + this.size > bytes.length) {
      throw new RangeError(`expected room for ${this.size} bytes, found ${Math.max(bytes.length - at, 0)}`)
    }
    let end = at
    for (const [name, field] of this.#fields) {
      field.put(bytes, end, values[name as keyof Fields])
      end += field.size
    }
    return end
  }

  #decode(bytes: Buffer, start: number, refuse: (name: string, at: number) => never): Values<Fields> {
    const values: Record<string, unknown> = {}
    let at = start
    for (const [name, field] of this.#fields) {
      const value = field.get(bytes, at)
      if (typeof value === 'number' && !Number.isSafeInteger(value)) {
        refuse(name, at)
      }
      values[name] = value
      at += field.size
    }
    return values as Values<Fields>
  }
}

function putPadded(field: Buffer, value: Uint8Array): void {
  if (value.length > field.length) {
    throw new RangeError(`expected at most ${field.length} bytes, found ${value.length}`)
  }
  field.set(value)
  field.fill(0, value.length)
}
