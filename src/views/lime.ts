import { compose, type Extents, type Piece } from '../evidence/extents.ts'
import { Struct, u32, u64 } from '../evidence/struct.ts'
import type { Memory } from '../guest/memory.ts'

/** Stands before the bytes of each range; the last address is one of the range, not behind it. LiME's own format notes. */
const HEADER = new Struct({ magic: u32, version: u32, s_addr: u64, e_addr: u64, reserved: u64 })

const MAGIC = 0x4c69_4d45
const VERSION = 1

/** The guest's memory as a LiME dump: a header and the bytes of each region, by ascending address. */
export function planLime(memory: Memory): Extents {
  return compose(
    memory.regions.flatMap(({ address, size, pieces }): Piece[] => {
      const range = { s_addr: address, e_addr: address + size - 1, reserved: 0 }
      const bytes = HEADER.encode({ magic: MAGIC, version: VERSION, ...range })
      return [{ kind: 'bytes', bytes, size: bytes.length }, ...pieces]
    }),
  )
}
