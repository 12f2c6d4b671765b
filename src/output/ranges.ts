import type { Extent, Extents } from '../evidence/extents.ts'

/** The bytes `[start, end)` of a file: all of them in a hole, or none. */
export interface Range {
  readonly start: number
  readonly end: number
  readonly hole: boolean
}

/**
 * A file as the ranges to read it in, in order. A hole is one range. Ranges of bytes go over the borders of extents, and are
 * of at most `most` bytes: they end at multiples of that where they can.
 *
 * @throws EvidenceError where bytes are refused, after the range before them.
 */
export function* rangesOf(extents: Extents, most: number): Generator<Range> {
  let start = 0
  let index = 0
  for (let extent = extents[0]; extent !== undefined; extent = extents[index]) {
    if (extent.kind === 'refused') {
      throw extent.why
    }
    let end = extent.end
    if (extent.kind === 'zero') {
      index++
      yield { start, end, hole: true }
    } else {
      const limit = start - (start % most) + most
      while (extent !== undefined && isStored(extent) && extent.end <= limit) {
        end = extent.end
        extent = extents[++index]
      }
      if (extent !== undefined && isStored(extent)) {
        end = limit
      }
      yield { start, end, hole: false }
    }
    start = end
  }
}

function isStored({ kind }: Extent): boolean {
  return kind !== 'zero' && kind !== 'refused'
}
