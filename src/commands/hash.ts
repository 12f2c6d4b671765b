import { readFileSync } from 'node:fs'
import { EvidenceError } from '../evidence/errors.ts'
import { sizeOf } from '../evidence/extents.ts'
import { printable } from '../evidence/printable.ts'
import { ALGORITHMS, type Algorithm, type Digests, digestsOf } from '../output/digests.ts'
import { OutputError } from '../output/errors.ts'
import { type Progress, startProgress } from '../output/progress.ts'
import { say } from '../output/say.ts'
import { writeOut } from '../output/standard-output.ts'
import { cleanPath, follow } from '../tree/follow.ts'
import type { File } from '../tree/node.ts'
import { IncompleteError, MismatchError, UsageError } from './errors.ts'
import { type EvidenceArguments, openTree } from './evidence.ts'
import { fileAt, type SelectedFile, type Source, selectFilesBelow } from './selection.ts'
import { parseSums, type Sum, sumLine, sumName } from './sums.ts'

/** What the command line of `vmssfs hash` says besides the evidence and the paths. */
export interface HashArguments extends EvidenceArguments {
  readonly only?: string
  readonly sums?: string
  readonly check?: string
}

/** What is hashed unless it is said. */
const DEFAULT_PATH = 'physmem.raw'

/** What is another in each run: in a list of a whole folder it could never match again, so it must be named itself. */
const CHANGING_PATH = 'meta/provenance.json'

const NAMES: Record<Algorithm, string> = { md5: 'MD5', sha1: 'SHA-1', sha256: 'SHA-256' }

/** Room for the longest of them and a space. */
const NAME_WIDTH = 8

/**
 * Prints digests of files of the tree, each of which is read once, or checks those of a list.
 *
 * @throws EvidenceError, IncompleteError (files with refused bytes, which get no digest), MismatchError, OutputError, UsageError
 */
export async function hashFiles(evidence: string, paths: readonly string[], given: HashArguments): Promise<void> {
  const { check, only, sums } = given
  if (check !== undefined && (paths.length > 0 || only !== undefined || sums !== undefined)) {
    throw new UsageError('--check: expected no paths, --only or --sums beside it')
  }
  if (only !== undefined && sums !== undefined) {
    throw new UsageError('--only and --sums: expected one of them, found both')
  }
  const chosen = sums ?? only
  const algorithms = chosen === undefined ? ALGORITHMS : [algorithmNamed(chosen)]
  const expected = check === undefined ? undefined : parseSums(contentsOf(check), check)
  const source = { root: openTree(evidence, given).root, evidence }
  if (expected !== undefined) {
    await checkSums(source, expected)
  } else {
    const named = paths.length === 0 ? [DEFAULT_PATH] : paths
    const files = selectFilesBelow(source, named).filter(
      ({ path }) => path !== CHANGING_PATH || named.some((text) => cleanPath(text) === CHANGING_PATH),
    )
    await printDigests(files, algorithms, sums !== undefined)
  }
}

async function printDigests(
  files: readonly SelectedFile[],
  algorithms: readonly Algorithm[],
  asSums: boolean,
): Promise<void> {
  const hashing = await startHashing(files.map(({ file }) => file))
  for (const { path, file } of files) {
    const digests = await hashing.digestsOf(path, () => file, algorithms)
    if (digests !== undefined) {
      await writeOut(asSums ? sumLines(path, digests) : block(path, sizeOf(file.extents), digests))
    }
  }
  hashing.end()
}

/** Each file is read once, however many digests of it are in the list. */
async function checkSums(source: Source, sums: readonly Sum[]): Promise<void> {
  const byPath = new Map<string, Sum[]>(sums.map(({ path }) => [path, []]))
  for (const sum of sums) {
    byPath.get(sum.path)?.push(sum)
  }
  const hashing = await startHashing(
    [...byPath.keys()].flatMap((path) => {
      const node = follow(source.root, path)
      return node?.kind === 'file' ? [node] : []
    }),
  )
  let mismatches = 0
  for (const [path, expected] of byPath) {
    const algorithms = [...new Set(expected.map(({ algorithm }) => algorithm))]
    const digests = await hashing.digestsOf(path, () => fileAt(source, path), algorithms)
    for (const { algorithm, digest } of expected) {
      const matches = digests?.get(algorithm) === digest
      const verdict = digests === undefined ? 'FAILED open or read' : matches ? 'OK' : 'FAILED'
      mismatches += verdict === 'FAILED' ? 1 : 0
      await writeOut(`${shown(sumName(path))}: ${verdict}\n`).catch(unlessClosed)
    }
  }
  if (mismatches > 0) {
    throw new MismatchError(`${mismatches} of ${sums.length} digests do not match`)
  }
  hashing.end()
}

/** Hashes file after file. What has no digest is told of at once, and remembered for the end. */
class Hashing {
  readonly #progress: Progress
  readonly #failures: EvidenceError[] = []

  /** Use {@link startHashing}. */
  constructor(progress: Progress) {
    this.#progress = progress
  }

  /** Undefined if there is no such file, or any of its bytes cannot be given. */
  async digestsOf(path: string, find: () => File, algorithms: readonly Algorithm[]): Promise<Digests | undefined> {
    try {
      return await digestsOf(find().extents, algorithms, (size) => this.#progress.advance(size))
    } catch (error) {
      if (!(error instanceof EvidenceError)) {
        throw error
      }
      this.#progress.clear()
      say(`${path}: ${error.message}`)
      this.#failures.push(error)
      return undefined
    } finally {
      if (process.stdout.isTTY) {
        this.#progress.clear()
      }
    }
  }

  /** @throws IncompleteError if there were files without digests. */
  end(): void {
    this.#progress.clear()
    const [first] = this.#failures
    if (first !== undefined) {
      throw new IncompleteError(`no digest of ${this.#failures.length} files`, first)
    }
  }
}

/** The verdict of a check is its exit code, also when nobody reads the lines any more. */
function unlessClosed(error: unknown): void {
  if (!(error instanceof OutputError && error.kind === 'closed')) {
    throw error
  }
}

async function startHashing(files: readonly File[]): Promise<Hashing> {
  return new Hashing(await startProgress(() => files.reduce((sum, { extents }) => sum + sizeOf(extents), 0)))
}

function sumLines(path: string, digests: Digests): string {
  return [...digests.values()].map((digest) => `${shown(sumLine(digest, path))}\n`).join('')
}

function block(path: string, size: number, digests: Digests): string {
  const lines = [...digests].map(([algorithm, digest]) => `  ${NAMES[algorithm].padEnd(NAME_WIDTH)}${digest}\n`)
  return `${shown(path)}, ${size} bytes\n${lines.join('')}`
}

function shown(text: string): string {
  return process.stdout.isTTY ? printable(text) : text
}

function algorithmNamed(name: string): Algorithm {
  const algorithm = ALGORITHMS.find((candidate) => candidate === name)
  if (algorithm === undefined) {
    throw new UsageError(`expected an algorithm of ${ALGORITHMS.join(', ')}, found "${name}"`)
  }
  return algorithm
}

/** The text of a list of digests; `-` is standard input. */
function contentsOf(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8')
  } catch (error) {
    throw new UsageError(`--check: expected to read a list of digests, found ${(error as Error).message}`)
  }
}
