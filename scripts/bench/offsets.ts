import { pattern } from '../../test/support/mount.ts'
import { FLAT_SIZE, PAGE } from './evidence.ts'

/** All pages of the flat guest in an order that looks random, and is the same in each run. */
const SHUFFLED = shuffledPages(FLAT_SIZE / PAGE)

/** Where a reader is to read so many pages: no two readers of a turn have one in common, nor do neighbouring turns. */
export function randomOffsets(reader: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => (SHUFFLED[(reader * count + index) % SHUFFLED.length] ?? 0) * PAGE)
}

function shuffledPages(count: number): number[] {
  const keys = new Uint32Array(pattern(1, count * Uint32Array.BYTES_PER_ELEMENT).buffer)
  return Array.from(keys.keys()).sort((a, b) => (keys[a] ?? 0) - (keys[b] ?? 0))
}
