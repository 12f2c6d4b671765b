/** A line of the table. */
export interface Row {
  readonly name: string
  readonly unit: string
  /** Whether more is better, as with bytes a second, or less, as with seconds. */
  readonly better: 'more' | 'less'
}

/** How many tags the trees have: as many as a genuine file, and many. */
export const TAG_COUNTS = [4195, 50_000] as const

/** In the order of the table. */
export const ROWS = {
  sequential: more('sequential, 1 MiB', 'GiB/s'),
  processorTime: less('processor time, sequential', 's/GiB'),
  direct: more('sequential, O_DIRECT', 'GiB/s'),
  random: more('random, 4 KiB', '1000/s'),
  random4: more('random, 4 KiB, 4 readers', '1000/s'),
  random16: more('random, 4 KiB, 16 readers', '1000/s'),
  mapping: more('rg over a mapping', 'GiB/s'),
  sha256: more('sha256sum', 'GiB/s'),
  residentAfter: less('resident after reading', 'MiB'),
  hole: more('hole of 1 GiB', 'GiB/s'),
  firstByte: less('command to first byte', 's'),
  residentFirst: less('resident at first byte', 'MiB'),
  findSome: less(`find and cat, ${TAG_COUNTS[0]} tags`, 's'),
  list: less(`ls -lR, ${TAG_COUNTS[0]} tags`, 's'),
  findMany: less(`find and cat, ${TAG_COUNTS[1]} tags`, 's'),
} as const

function more(name: string, unit: string): Row {
  return { name, unit, better: 'more' }
}

function less(name: string, unit: string): Row {
  return { name, unit, better: 'less' }
}
