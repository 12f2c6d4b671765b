/** What is done with a server, and what figures come of it. */
import { closeSync, openSync, readSync } from 'node:fs'
import { toolSkip } from '../../test/support/mount.ts'
import { FLAT_SIZE, GIBIBYTE, HOLE_SIZE, MEBIBYTE, NEEDLE } from './evidence.ts'
import { randomOffsets } from './offsets.ts'
import { forget, time, timeCopy } from './programs.ts'
import type { Readers } from './readers.ts'
import { ROWS, type Row } from './rows.ts'
import type { Server } from './server.ts'

/** Something done with a server, and the figures that come of it, one for each row. */
export interface Trial {
  readonly rows: readonly Row[]
  /** How often in each round. Short turns are better than long ones where the machine has other things to do. */
  readonly turns: number
  measure(server: Server, turn: number): number[] | Promise<number[]>
}

export const MOST_READERS = 16

/** Why the trial of a mapping is left out, or false. */
export const mappingSkip = toolSkip('rg')

/** How many readers there are at once, and how many pages each of them reads. */
const RANDOM = [
  { row: ROWS.random, count: 1, pages: 8192 },
  { row: ROWS.random4, count: 4, pages: 4096 },
  { row: ROWS.random16, count: MOST_READERS, pages: 2048 },
] as const

/** sha256sum is slow by itself: a part is enough. */
const SHA256_SIZE = FLAT_SIZE / 4

/** On the flat guest, whose image lies in the page cache. */
export function flatTrials(readers: Readers): Trial[] {
  return [
    forgetful([ROWS.sequential, ROWS.processorTime], 2, (server) => {
      const before = server.processorTime()
      const seconds = timeCopy(server.file, FLAT_SIZE)
      const size = FLAT_SIZE / GIBIBYTE
      return [size / seconds, (server.processorTime() - before) / size]
    }),
    // With passthrough this goes past the page cache of the evidence, too, and reads the disk.
    forgetful([ROWS.direct], 2, ({ file }) => [FLAT_SIZE / GIBIBYTE / timeCopy(file, FLAT_SIZE, ['iflag=direct'])]),
    ...RANDOM.map(({ row, count, pages }) =>
      forgetful([row], 2, async ({ file }, turn) => {
        const lists = Array.from({ length: count }, (_, index) => randomOffsets(turn * count + index, pages))
        return [(await readers.read(file, lists)) / 1000]
      }),
    ),
    ...(mappingSkip ? [] : [mappingTrial]),
    forgetful([ROWS.sha256], 1, ({ file }) => {
      const seconds = time('sh', ['-c', `head -c ${SHA256_SIZE} "$0" | sha256sum`, file])
      return [SHA256_SIZE / GIBIBYTE / seconds]
    }),
    { rows: [ROWS.residentAfter], turns: 1, measure: (server) => [server.residentSize() / MEBIBYTE] },
  ]
}

const mappingTrial = forgetful([ROWS.mapping], 1, ({ file }) => {
  const seconds = time('rg', ['--text', '--mmap', '--fixed-strings', '--count', NEEDLE, file])
  return [FLAT_SIZE / GIBIBYTE / seconds]
})

export const holeTrial = forgetful([ROWS.hole], 2, ({ file }) => [HOLE_SIZE / GIBIBYTE / timeCopy(file, HOLE_SIZE)])

/** On a fresh mount. */
export const firstByteTrial: Trial = {
  rows: [ROWS.firstByte, ROWS.residentFirst],
  turns: 1,
  measure({ file, startedAt, residentSize }) {
    const descriptor = openSync(file, 'r')
    readSync(descriptor, Buffer.alloc(1), 0, 1, 0)
    const end = performance.now()
    closeSync(descriptor)
    return [(end - startedAt) / 1000, residentSize() / MEBIBYTE]
  },
}

/** Reads every file, on a fresh mount. Of every tag there are two. */
export function findTrial(row: Row): Trial {
  const args = ['-type', 'f', '-exec', 'cat', '{}', '+']
  return { rows: [row], turns: 1, measure: ({ mountpoint }) => [time('find', [mountpoint, ...args])] }
}

/** On a fresh mount. */
export const listTrial: Trial = {
  rows: [ROWS.list],
  turns: 1,
  measure: ({ mountpoint }) => [time('ls', ['-lR', mountpoint])],
}

/**
 * A trial that finds nothing of the file in the mount's page cache, and leaves nothing there: the next one is given the same
 * memory again.
 */
function forgetful(rows: readonly Row[], turns: number, measure: Trial['measure']): Trial {
  return {
    rows,
    turns,
    async measure(server, turn) {
      forget(server.file)
      const figures = await measure(server, turn)
      forget(server.file)
      return figures
    },
  }
}
