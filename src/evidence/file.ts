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
import { performance } from 'node:perf_hooks'
import { EvidenceError } from './errors.ts'
import { traceOf } from './trace.ts'

const trace = traceOf('vmssfs:evidence')

/** How often it is looked whether evidence has changed, at most, in milliseconds: reads must stay cheap. */
const LOOK_INTERVAL = 1000

/** All that there is to an open evidence file, as plain data that can be handed to another thread of the process. */
export interface EvidenceHandle {
  readonly path: string
  readonly realPath: string
  /** In bytes, when it was opened. */
  readonly size: number
  readonly mtime: Date
  readonly mtimeNs: bigint
  readonly inode: bigint
  readonly device: bigint
  readonly keepsAccessTime: boolean
  /** Descriptors belong to the process, so every thread may read this one. */
  readonly descriptor: number
  /** One number in memory that all threads share: not 0 once any of them has noticed that the file changed. */
  readonly changed: Int32Array
}

/**
 * A file that was handed over as evidence: opened read-only, never written, read at positions. This module is the only one
 * that opens evidence.
 *
 * If the file changes while it is open, in size, time of change or inode at its path, every read from then on is refused, in
 * every thread: a mixture of two states would be the evidence of nothing.
 */
export class EvidenceFile {
  /** For another thread, which makes an EvidenceFile of its own from it; only the thread that opened the file closes it. */
  readonly handle: EvidenceHandle
  /** Is told once, in the thread that notices it, when the file has changed. */
  onChange: (change: EvidenceError) => void = () => undefined
  readonly #descriptor: number
  readonly #changed: Int32Array
  #lastLook = performance.now()
  #change: EvidenceError | undefined

  constructor(handle: EvidenceHandle) {
    this.handle = handle
    this.#descriptor = handle.descriptor
    this.#changed = handle.changed
  }

  /** The path as it was given. */
  get path(): string {
    return this.handle.path
  }

  /** The absolute path, without links. */
  get realPath(): string {
    return this.handle.realPath
  }

  /** Size in bytes when it was opened. */
  get size(): number {
    return this.handle.size
  }

  get mtime(): Date {
    return this.handle.mtime
  }

  get inode(): bigint {
    return this.handle.inode
  }

  get device(): bigint {
    return this.handle.device
  }

  /** Whether reading leaves its access time alone. */
  get keepsAccessTime(): boolean {
    return this.handle.keepsAccessTime
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
    this.readInto(target, 0, target.length, offset)
  }

  /** The same for the `size` bytes of `target` from `at` on. */
  readInto(target: Uint8Array, at: number, size: number, offset: number): void {
    this.#refuseIfChanged()
    let done = 0
    while (done < size) {
      const count = this.#readOnce(target, at + done, size - done, offset + done)
      if (count === 0) {
        throw new EvidenceError({
          code: 'truncated',
          file: this.path,
          offset: offset + done,
          expected: `${size - done} more bytes`,
          found: 'the end of the file',
        })
      }
      done += count
    }
  }

  /** Takes note of a change that another thread has noticed, and tells {@link onChange}. */
  noteChange(found: string): void {
    this.#change = changed(this.path, found)
    this.onChange(this.#change)
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  #readOnce(target: Uint8Array, at: number, size: number, offset: number): number {
    try {
      return readSync(this.#descriptor, target, at, size, offset)
    } catch (error) {
      throw unreadable(this.path, error, offset)
    }
  }

  #refuseIfChanged(): void {
    if (this.#change === undefined && this.#changed[0] !== 0) {
      this.#change = changed(this.path, 'a change that was noticed before')
    }
    const now = performance.now()
    if (this.#change === undefined && now - this.#lastLook >= LOOK_INTERVAL) {
      this.#lastLook = now
      const found = this.#look()
      if (found !== undefined) {
        this.#change = changed(this.path, found)
        // Of several threads that notice it at once, one says so.
        if (Atomics.exchange(this.#changed, 0, 1) === 0) {
          this.onChange(this.#change)
        }
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
    return stats.mtimeNs === this.handle.mtimeNs ? undefined : `a change of ${stats.mtime.toISOString()}`
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
  trace('%s: %d bytes', path, stats.size)
  return new EvidenceFile({
    ...opened,
    path,
    realPath: realpathSync(path),
    size: Number(stats.size),
    mtime: stats.mtime,
    mtimeNs: stats.mtimeNs,
    inode: stats.ino,
    device: stats.dev,
    changed: new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
  })
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
  trace('%s: O_NOATIME is not permitted, the access time may change', path)
  try {
    return { descriptor: openSync(path, flags), keepsAccessTime: false }
  } catch (error) {
    throw unreadable(path, error)
  }
}

function changed(path: string, found: string): EvidenceError {
  return new EvidenceError({ code: 'changed', file: path, expected: 'the file as it was when it was opened', found })
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
