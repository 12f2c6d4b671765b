import { EvidenceError } from './errors.ts'
import type { EvidenceFile } from './file.ts'

const WINDOW_SIZE = 64 * 1024

/**
 * A window that moves over an evidence file, so that small records cost few reads and blocks that are stepped over none.
 * What it gives out is valid until the next call.
 */
export class Window {
  readonly file: EvidenceFile
  readonly #buffer = Buffer.allocUnsafe(WINDOW_SIZE)
  #start = 0
  #size = 0

  constructor(file: EvidenceFile) {
    this.file = file
  }

  /**
   * The bytes `[offset, offset + size)`; `size` is at most 64 KiB.
   *
   * @throws EvidenceError `truncated` if the file ends before.
   */
  bytes(offset: number, size: number): Buffer {
    if (offset < this.#start || offset + size > this.#start + this.#size) {
      this.#move(offset, size)
    }
    return this.#buffer.subarray(offset - this.#start, offset - this.#start + size)
  }

  #move(offset: number, size: number): void {
    const available = Math.min(Math.max(this.file.size - offset, 0), WINDOW_SIZE)
    if (available < size) {
      throw new EvidenceError({
        code: 'truncated',
        file: this.file.path,
        offset,
        expected: `${size} bytes`,
        found: `${available} before the end of the file`,
      })
    }
    this.#size = 0
    this.file.read(this.#buffer.subarray(0, available), offset)
    this.#start = offset
    this.#size = available
  }
}
