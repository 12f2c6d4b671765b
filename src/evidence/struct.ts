import { EvidenceError, hex } from './errors.ts'
import type { Window } from './window.ts'

/** One field of a record: how many bytes it takes, and how they are read. */
export interface Field<T> {
  readonly size: number
  get(bytes: Buffer, at: number): T
}

/** The values of a record, named as its fields are. */
export type Values<Fields> = { [Name in keyof Fields]: Fields[Name] extends Field<infer T> ? T : never }

/** Unsigned, little-endian, as every number of the format is. */
export const u16: Field<number> = { size: 2, get: (bytes, at) => bytes.readUInt16LE(at) }
export const u32: Field<number> = { size: 4, get: (bytes, at) => bytes.readUInt32LE(at) }
/** A number from 2^53 on is inexact here: {@link Struct.decode} refuses it. */
export const u64: Field<number> = {
  size: 8,
  get: (bytes, at) => bytes.readUInt32LE(at + 4) * 0x1_0000_0000 + bytes.readUInt32LE(at),
}

/** Text of a fixed size, cut at its first NUL; the bytes are a copy. */
export function nulPadded(size: number): Field<Uint8Array> {
  return {
    size,
    get(bytes, at) {
      const field = bytes.subarray(at, at + size)
      const nul = field.indexOf(0)
      return new Uint8Array(nul === -1 ? field : field.subarray(0, nul))
    },
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

  /**
   * The record at `offset` of the window's file.
   *
   * @throws EvidenceError `truncated` past the end of the file, `damaged` for a number that is beyond 2^53.
   */
  decode(window: Window, offset: number): Values<Fields> {
    const bytes = window.bytes(offset, this.size)
    const values: Record<string, unknown> = {}
    let at = 0
    for (const [name, field] of this.#fields) {
      const value = field.get(bytes, at)
      if (typeof value === 'number' && !Number.isSafeInteger(value)) {
        throw new EvidenceError({
          code: 'damaged',
          file: window.file.path,
          offset: offset + at,
          expected: `${name} below 2^53`,
          found: hex(bytes.readBigUInt64LE(at)),
        })
      }
      values[name] = value
      at += field.size
    }
    return values as Values<Fields>
  }
}
