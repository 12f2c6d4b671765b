import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs'
import { basename } from 'node:path'
import createDebug from 'debug'
import { EvidenceError } from './errors.ts'

const debug = createDebug('vmssfs:evidence')

/** How often it is looked whether evidence has changed, at most, in milliseconds: reads must stay cheap. */
const LOOK_INTERVAL = 1000

/**
 * A file that was handed over as evidence: opened read-only, never written, read at positions. This module is the only one
 * that opens evidence.
 *
 * If the file changes while it is open, in size, time of change or inode at its path, every read from then on is refused: a
 * mixture of two states would be the evidence of nothing.
 */
export class EvidenceFile {
  /** The path as it was given. */
  readonly path: string
  /** The absolute path, without links. */
  readonly realPath: string
  /** Size in bytes when it was opened. */
  readonly size: number
  readonly mtime: Date
  readonly inode: bigint
  readonly device: bigint
  /** Whether reading leaves its access time alone. */
  readonly keepsAccessTime: boolean
  /** Is told once, when it is noticed that the file has changed. */
  onChange: (change: EvidenceError) => void = () => undefined
  readonly #descriptor: number
  readonly #mtimeNs: bigint
  #lastLook = performance.now()
  #change: EvidenceError | undefined

  constructor(path: string, { descriptor, keepsAccessTime }: Opened, stats: BigIntStats) {
    this.path = path
    this.realPath = realpathSync(path)
    this.size = Number(stats.size)
    this.mtime = stats.mtime
    this.inode = stats.ino
    this.device = stats.dev
    this.keepsAccessTime = keepsAccessTime
    this.#descriptor = descriptor
    this.#mtimeNs = stats.mtimeNs
  }

  /** The last part of the path: what generated files call it, so that a mount does not depend on where the evidence lies. */
  get name(): string {
    return basename(this.path)
  }

  /**
   * Fills the whole of `target` with the bytes from `offset` on.
   *
   * @throws EvidenceError `truncated` if the file ends first, `unreadable` if the disk fails, `changed` if it is not the file
   * any more that was opened; `target` is then undefined.
   */
  read(target: Uint8Array, offset: number): void {
    this.#refuseIfChanged()
    let done = 0
    while (done < target.length) {
      const count = this.#readOnce(target, done, offset + done)
      if (count === 0) {
        throw new EvidenceError({
          code: 'truncated',
          file: this.path,
          offset: offset + done,
          expected: `${target.length - done} more bytes`,
          found: 'the end of the file',
        })
      }
      done += count
    }
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  #readOnce(target: Uint8Array, at: number, offset: number): number {
    try {
      return readSync(this.#descriptor, target, at, target.length - at, offset)
    } catch (error) {
      throw unreadable(this.path, error, offset)
    }
  }

  #refuseIfChanged(): void {
    const now = performance.now()
    if (this.#change === undefined && now - this.#lastLook >= LOOK_INTERVAL) {
      this.#lastLook = now
      const found = this.#look()
      if (found !== undefined) {
        const expected = 'the file as it was when it was opened'
        this.#change = new EvidenceError({ code: 'changed', file: this.path, expected, found })
        this.onChange(this.#change)
      }
    }
    if (this.#change !== undefined) {
      throw this.#change
    }
  }

  /** What is different from when the file was opened. */
  #look(): string | undefined {
    let stats: BigIntStats
    try {
      // By the path, not the descriptor: a file that was put in its place has another inode.
      stats = statSync(this.realPath, { bigint: true })
    } catch (error) {
      return `${(error as NodeJS.ErrnoException).code} at its path`
    }
    if (stats.ino !== this.inode || stats.dev !== this.device) {
      return `another file at its path (inode ${stats.ino}, not ${this.inode})`
    }
    if (Number(stats.size) !== this.size) {
      return `${stats.size} bytes, not ${this.size}`
    }
    return stats.mtimeNs === this.#mtimeNs ? undefined : `a change of ${stats.mtime.toISOString()}`
  }
}

interface Opened {
  readonly descriptor: number
  readonly keepsAccessTime: boolean
}

/**
 * Opens a regular file read-only, without touching its access time where the system allows that.
 *
 * @throws EvidenceError `unreadable` if it cannot be opened or is not a regular file.
 */
export function openEvidence(path: string): EvidenceFile {
  const opened = openReadOnly(path)
  const stats = fstatSync(opened.descriptor, { bigint: true })
  if (!stats.isFile()) {
    closeSync(opened.descriptor)
    throw new EvidenceError({ code: 'unreadable', file: path, expected: 'a regular file', found: kindOf(stats) })
  }
  debug('%s: %d bytes', path, stats.size)
  return new EvidenceFile(path, opened, stats)
}

/** Names in the folder of some evidence, sorted by UTF-16 code units, so that a choice among them is always the same. */
export function listFolder(path: string): string[] {
  try {
    return readdirSync(path).sort()
  } catch (error) {
    throw unreadable(path, error)
  }
}

/** Whether there is anything at the path. */
export function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

/** Whether the path is a folder; false too if there is nothing at all. */
export function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

function openReadOnly(path: string): Opened {
  // Without O_NONBLOCK a FIFO in the place of evidence would wait for a writer for ever.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK
  try {
    if (constants.O_NOATIME !== undefined) {
      return { descriptor: openSync(path, flags | constants.O_NOATIME), keepsAccessTime: true }
    }
  } catch (error) {
    // O_NOATIME is for the owner of the file and root alone: EPERM otherwise.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') {
      throw unreadable(path, error)
    }
  }
  debug('%s: O_NOATIME is not permitted, the access time may change', path)
  try {
    return { descriptor: openSync(path, flags), keepsAccessTime: false }
  } catch (error) {
    throw unreadable(path, error)
  }
}

function unreadable(path: string, error: unknown, offset?: number): EvidenceError {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === undefined) {
    throw error
  }
  const expected = offset === undefined ? 'to open it for reading' : 'to read it'
  const found = /^\w+: ([^,]+)/.exec(message)?.[1] ?? message
  const finding = { code: 'unreadable', file: path, expected, found: `${code} (${found})` } as const
  return new EvidenceError(offset === undefined ? finding : { ...finding, offset })
}

function kindOf(stats: BigIntStats): string {
  if (stats.isDirectory()) {
    return 'a folder'
  }
  if (stats.isFIFO()) {
    return 'a FIFO'
  }
  return stats.isBlockDevice() || stats.isCharacterDevice() ? 'a device' : 'a special file'
}
