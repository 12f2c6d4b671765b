import { type Extents, read } from '../evidence/extents.ts'
import { pageAligned } from '../evidence/page-aligned.ts'
import { rangesOf } from '../output/ranges.ts'
import { writeOut } from '../output/standard-output.ts'
import { type EvidenceArguments, openTree } from './evidence.ts'
import { selectFiles } from './selection.ts'

const CHUNK_SIZE = 1024 * 1024
const ZEROS = pageAligned(CHUNK_SIZE)

/**
 * Writes files of the tree to standard output, one after the other. Where bytes are refused it ends, after those before.
 *
 * @throws EvidenceError, OutputError, UsageError
 */
export async function catFiles(evidence: string, paths: readonly string[], given: EvidenceArguments): Promise<void> {
  const { root } = openTree(evidence, given)
  const files = selectFiles({ root, evidence }, paths)
  const buffer = pageAligned(CHUNK_SIZE)
  for (const { file } of files) {
    await catExtents(file.extents, buffer)
  }
}

async function catExtents(extents: Extents, buffer: Buffer): Promise<void> {
  for (const { start, end, hole } of rangesOf(extents, CHUNK_SIZE)) {
    for (let offset = start; offset < end; offset += CHUNK_SIZE) {
      const part = (hole ? ZEROS : buffer).subarray(0, end - offset)
      if (!hole) {
        read(extents, part, offset)
      }
      await writeOut(part)
    }
  }
}
