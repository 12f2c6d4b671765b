import { lutimesSync, mkdirSync, rmSync, symlinkSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { EvidenceError } from '../evidence/errors.ts'
import { type Extents, read, sizeOf, storedSizeOf } from '../evidence/extents.ts'
import { pageAligned } from '../evidence/page-aligned.ts'
import { attempt } from '../output/attempt.ts'
import { type Progress, startProgress } from '../output/progress.ts'
import { rangesOf } from '../output/ranges.ts'
import { say } from '../output/say.ts'
import { SparseFile } from '../output/sparse-file.ts'
import { cleanPath } from '../tree/follow.ts'
import { type Directory, type File, type Node, walk } from '../tree/node.ts'
import { IncompleteError } from './errors.ts'
import { type EvidenceArguments, openTree } from './evidence.ts'
import { interruption } from './interruption.ts'
import { followed } from './selection.ts'

const CHUNK_SIZE = 1024 * 1024

/** How long a signal may have to wait until it is heard, in milliseconds. */
const LISTEN_INTERVAL = 20

/** A file that is not among what was extracted, and why. */
interface Refusal {
  readonly path: string
  readonly why: EvidenceError
}

/**
 * Copies a file or a folder of the tree to a new one on the disk, sparse where there are holes, with the times of the tree.
 * What could not be finished is removed again; of a folder that is just the files with refused bytes, unless the output
 * itself fails or a signal comes.
 *
 * @throws EvidenceError, IncompleteError, InterruptedError, OutputError
 */
export async function extract(evidence: string, path: string, output: string, given: EvidenceArguments): Promise<void> {
  const { root } = openTree(evidence, given)
  const node = followed({ root, evidence }, cleanPath(path))
  const progress = await startProgress(() => storedSizeBelow(node))
  const copier = new Copier(interruption(), progress)
  if (node.kind === 'file') {
    await copier.copyFile(node, output).finally(() => progress.clear())
  } else if (node.kind === 'directory') {
    const refusals = await copier.copyFolder(node, output).finally(() => progress.clear())
    for (const { path, why } of refusals) {
      say(`${path}: ${why.message}`)
    }
    const [first] = refusals
    if (first !== undefined) {
      throw new IncompleteError(
        `${output}: left out ${refusals.length} files with bytes that cannot be given`,
        first.why,
      )
    }
  }
}

function storedSizeBelow(node: Node): number {
  let size = 0
  for (const [, below] of walk(node)) {
    size += below.kind === 'file' ? storedSizeOf(below.extents) : 0
  }
  return size
}

class Copier {
  readonly #interruption: AbortSignal
  readonly #progress: Progress
  /** While one is written the other one is filled. */
  readonly #buffers = [pageAligned(CHUNK_SIZE), pageAligned(CHUNK_SIZE)]

  #lastTurn = performance.now()

  constructor(interruption: AbortSignal, progress: Progress) {
    this.#interruption = interruption
    this.#progress = progress
  }

  async copyFile(file: File, output: string): Promise<void> {
    const sparse = new SparseFile(output, sizeOf(file.extents))
    try {
      await this.#copyBytes(file.extents, sparse)
      sparse.finish(file.mtime)
    } catch (error) {
      sparse.discard()
      throw error
    }
  }

  /** Resolves to the files that had to be left out. */
  async copyFolder(folder: Directory, output: string): Promise<Refusal[]> {
    attempt(output, () => mkdirSync(output))
    try {
      return await this.#fillFolder(folder, output)
    } catch (error) {
      rmSync(output, { recursive: true, force: true })
      throw error
    }
  }

  async #fillFolder(folder: Directory, output: string): Promise<Refusal[]> {
    const refusals: Refusal[] = []
    const folders: [place: string, mtime: Date][] = []
    for (const [path, node] of walk(folder)) {
      const place = join(output, path)
      if (node.kind === 'file') {
        const why = await this.#refusalOf(node, place)
        refusals.push(...(why === undefined ? [] : [{ path, why }]))
      } else if (node.kind === 'link') {
        attempt(place, () => symlinkSync(node.target, place))
        attempt(place, () => lutimesSync(place, node.mtime, node.mtime))
      } else {
        folders.push([place, node.mtime])
        if (node !== folder) {
          attempt(place, () => mkdirSync(place))
        }
      }
    }
    // Last, for each new entry has changed the time of its folder.
    for (const [place, mtime] of folders) {
      attempt(place, () => utimesSync(place, mtime, mtime))
    }
    return refusals
  }

  /** Copies a file, unless bytes of it are refused: resolves to why. */
  async #refusalOf(file: File, place: string): Promise<EvidenceError | undefined> {
    try {
      await this.copyFile(file, place)
      return undefined
    } catch (error) {
      if (error instanceof EvidenceError) {
        return error
      }
      throw error
    }
  }

  async #copyBytes(extents: Extents, sparse: SparseFile): Promise<void> {
    let writing = Promise.resolve()
    try {
      for (const { start, end, hole } of rangesOf(extents, CHUNK_SIZE)) {
        if (!hole) {
          await this.#listen()
          const bytes = (this.#buffers.reverse()[0] as Buffer).subarray(0, end - start)
          read(extents, bytes, start)
          await writing
          writing = sparse.write(bytes, start)
          // If it fails while the next bytes are being read, it is heard of when it is waited for.
          writing.catch(() => undefined)
          this.#progress.advance(bytes.length)
        }
      }
    } finally {
      await writing
    }
    await this.#listen()
  }

  /** Lets a signal be heard, if none could be for a while, and ends the work if there was one. */
  async #listen(): Promise<void> {
    if (performance.now() - this.#lastTurn > LISTEN_INTERVAL) {
      await turn()
      this.#lastTurn = performance.now()
    }
    this.#interruption.throwIfAborted()
  }
}
