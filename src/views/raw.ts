import { compose, type Extents, type Piece } from '../evidence/extents.ts'
import type { Memory } from '../guest/memory.ts'

/**
 * The guest's memory as a flat image: the offset in the file is the guest-physical address, up to the end of the last region.
 * What no region covers is a hole.
 */
export function planRaw(memory: Memory): Extents {
  const pieces: Piece[] = []
  let address = 0
  for (const region of memory.regions) {
    pieces.push({ kind: 'zero', size: region.address - address }, ...region.pieces)
    address = region.address + region.size
  }
  return compose(pieces)
}
