import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { type Extents, read, sizeOf } from '../evidence/extents.ts'
import { DigestThreads } from './digest-threads.ts'
import { rangesOf } from './ranges.ts'

/** The digests there are, as node:crypto calls them. */
export const ALGORITHMS = ['md5', 'sha1', 'sha256'] as const

export type Algorithm = (typeof ALGORITHMS)[number]

/** Digests of one file, in lower-case hexadecimal. */
export type Digests = ReadonlyMap<Algorithm, string>

/** Smaller files take less time than threads do to start, in bytes. */
const WORTH_THREADS = 16 * 1024 * 1024

const CHUNK_SIZE = 1024 * 1024
const ZEROS = Buffer.alloc(CHUNK_SIZE)

/**
 * Several digests of a file, which is read once: on a thread for each, where that is faster. `advance` is told how many more
 * bytes are done.
 *
 * @throws EvidenceError if any of its bytes are refused: there is no digest of a part.
 */
export async function digestsOf(
  extents: Extents,
  algorithms: readonly Algorithm[],
  advance: (size: number) => void,
): Promise<Digests> {
  for (const extent of extents) {
    // Told before hours of work, not after.
    if (extent.kind === 'refused') {
      throw extent.why
    }
  }
  if (sizeOf(extents) < WORTH_THREADS || availableParallelism() === 1) {
    return digestHere(extents, algorithms, advance)
  }
  const threads = new DigestThreads(algorithms)
  try {
    return await threads.digest(extents, advance)
  } finally {
    await threads.close()
  }
}

function digestHere(extents: Extents, algorithms: readonly Algorithm[], advance: (size: number) => void): Digests {
  const hashes = algorithms.map((algorithm) => ({ algorithm, hash: createHash(algorithm) }))
  const buffer = Buffer.allocUnsafe(Math.min(sizeOf(extents), CHUNK_SIZE))
  for (const { start, end, hole } of rangesOf(extents, CHUNK_SIZE)) {
    for (let offset = start; offset < end; offset += CHUNK_SIZE) {
      const bytes = (hole ? ZEROS : buffer).subarray(0, end - offset)
      if (!hole) {
        read(extents, bytes, offset)
      }
      for (const { hash } of hashes) {
        hash.update(bytes)
      }
      advance(bytes.length)
    }
  }
  return new Map(hashes.map(({ algorithm, hash }) => [algorithm, hash.digest('hex')]))
}
