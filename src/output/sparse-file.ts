import { closeSync, ftruncateSync, futimesSync, openSync, rmSync, write as writeCallback } from 'node:fs'
import { promisify } from 'node:util'
import { attempt, outputError } from './attempt.ts'

const write = promisify(writeCallback)

/** What is left out if all of it is zero, and lies at a multiple of this: as a hole it takes no space and reads the same. */
export const BLOCK_SIZE = 64 * 1024

const ZEROS = Buffer.alloc(BLOCK_SIZE)

/** A new file that has holes where nothing but zeros is written to it. */
export class SparseFile {
  readonly #path: string
  readonly #descriptor: number
  #open = true

  /**
   * Creates it, `size` bytes in all, which are a hole.
   *
   * @throws OutputError `exists` if there is anything at the path, or `failed`; nothing is left then.
   */
  constructor(path: string, size: number) {
    this.#path = path
    this.#descriptor = attempt(path, () => openSync(path, 'wx'))
    try {
      attempt(path, () => ftruncateSync(this.#descriptor, size))
    } catch (error) {
      this.discard()
      throw error
    }
  }

  /**
   * Writes all of the bytes but for blocks that are zero. Only when that is done may they change, or the file be closed.
   *
   * @throws OutputError
   */
  async write(bytes: Buffer, offset: number): Promise<void> {
    let start = 0
    for (let block = 0; block < bytes.length; ) {
      const end = Math.min(block + BLOCK_SIZE - ((offset + block) % BLOCK_SIZE), bytes.length)
      // A look at one byte spares most comparisons.
      if (bytes[block] === 0 && bytes.compare(ZEROS, 0, end - block, block, end) === 0) {
        await this.#write(bytes, start, block, offset)
        start = end
      }
      block = end
    }
    await this.#write(bytes, start, bytes.length, offset)
  }

  /**
   * Closes it, with the time that it is to have.
   *
   * @throws OutputError
   */
  finish(mtime: Date): void {
    attempt(this.#path, () => {
      futimesSync(this.#descriptor, mtime, mtime)
      this.#close()
    })
  }

  /** Removes it. */
  discard(): void {
    rmSync(this.#path, { force: true })
    if (this.#open) {
      this.#close()
    }
  }

  #close(): void {
    // Even a close that fails has closed it.
    this.#open = false
    closeSync(this.#descriptor)
  }

  /** Writes the bytes `[start, end)`, of which the first of all belongs at `offset`. */
  async #write(bytes: Buffer, start: number, end: number, offset: number): Promise<void> {
    try {
      for (let at = start; at < end; ) {
        at += (await write(this.#descriptor, bytes, at, end - at, offset + at)).bytesWritten
      }
    } catch (error) {
      throw outputError(this.#path, error)
    }
  }
}
