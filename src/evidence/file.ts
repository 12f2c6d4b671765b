import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, type Stats, statSync } from 'node:fs'
import { basename } from 'node:path'
import createDebug from 'debug'
import { EvidenceError } from './errors.ts'

const debug = createDebug('vmssfs:evidence')

/**
 * A file that was handed over as evidence: opened read-only, never written, read at positions. This module is the only one
 * that opens evidence.
 */
export class EvidenceFile {
  /** The path as it was given. */
  readonly path: string
  /** Size in bytes when it was opened. */
  readonly size: number
  readonly mtime: Date
  readonly #descriptor: number

  constructor(path: string, descriptor: number, stats: Stats) {
    this.path = path
    this.size = stats.size
    this.mtime = stats.mtime
    this.#descriptor = descriptor
  }

  /** The last part of the path: what generated files call it, so that a mount does not depend on where the evidence lies. */
  get name(): string {
    return basename(this.path)
  }

  /**
   * Fills the whole of `target` with the bytes from `offset` on.
   *
   * @throws EvidenceError `truncated` if the file ends first, `unreadable` if the disk fails; `target` is then undefined.
   */
  read(target: Uint8Array, offset: number): void {
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
}

/**
 * Opens a regular file read-only, without touching its access time where the system allows that.
 *
 * @throws EvidenceError `unreadable` if it cannot be opened or is not a regular file.
 */
export function openEvidence(path: string): EvidenceFile {
  const descriptor = openReadOnly(path)
  const stats = fstatSync(descriptor)
  if (!stats.isFile()) {
    closeSync(descriptor)
    throw new EvidenceError({ code: 'unreadable', file: path, expected: 'a regular file', found: kindOf(stats) })
  }
  debug('%s: %d bytes', path, stats.size)
  return new EvidenceFile(path, descriptor, stats)
}

/** Names in the folder of some evidence, sorted by UTF-16 code units, so that a choice among them is always the same. */
export function listFolder(path: string): string[] {
  try {
    return readdirSync(path).sort()
  } catch (error) {
    throw unreadable(path, error)
  }
}

/** Whether the path is a folder; false too if there is nothing at all. */
export function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

function openReadOnly(path: string): number {
  // Without O_NONBLOCK a FIFO in the place of evidence would wait for a writer for ever.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK
  try {
    // O_NOATIME (absent outside Linux) is for the owner of the file and root alone: EPERM otherwise.
    return openSync(path, flags | (constants.O_NOATIME ?? 0))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') {
      throw unreadable(path, error)
    }
  }
  debug('%s: O_NOATIME is not permitted, the access time may change', path)
  try {
    return openSync(path, flags)
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

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) {
    return 'a folder'
  }
  if (stats.isFIFO()) {
    return 'a FIFO'
  }
  return stats.isBlockDevice() || stats.isCharacterDevice() ? 'a device' : 'a special file'
}
