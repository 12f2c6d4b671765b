import { EventEmitter, once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { type Extents, read } from '../evidence/extents.ts'
import { sharedPageAligned } from '../evidence/page-aligned.ts'
import type { Algorithm, Digests } from './digests.ts'
import { rangesOf } from './ranges.ts'

/** What is read and hashed at once, in bytes, and how far the reading may be ahead of the slowest digest. */
const SLOT_SIZE = 512 * 1024
const SLOT_COUNT = 16

/** What a thread is told when it starts: `memory` is slots of `slotSize` bytes, one behind the other. */
export interface DigestSetup {
  readonly algorithm: Algorithm
  readonly memory: SharedArrayBuffer
  readonly slotSize: number
}

/** The next bytes of a file, the first `size` of a slot, or zeros instead; or its end. */
export type DigestRequest = { readonly slot: number; readonly size: number; readonly hole: boolean } | 'end'

/** A slot that a thread no longer needs, or the digest of all. */
export type DigestResponse = { readonly slot: number } | { readonly digest: string }

/**
 * A thread for each digest of one file, and memory that is filled once for all of them: a ring of slots, each of which is
 * filled again when every thread is done with it.
 */
export class DigestThreads {
  readonly #memory = sharedPageAligned(SLOT_SIZE * SLOT_COUNT)
  readonly #algorithms: readonly Algorithm[]
  readonly #workers: readonly Worker[]
  /** Emits `free`, `digests`, and `error` for a thread that failed. */
  readonly #events = new EventEmitter()
  readonly #free = Array.from({ length: SLOT_COUNT }, (_, slot) => slot)
  /** How many threads still need each slot. */
  readonly #users = new Map<number, number>()
  readonly #digests = new Map<Algorithm, string>()

  constructor(algorithms: readonly Algorithm[]) {
    this.#algorithms = algorithms
    this.#workers = algorithms.map((algorithm) => this.#startWorker(algorithm))
  }

  /**
   * The digests of the file; `advance` is told how many more bytes have been read.
   *
   * @throws EvidenceError if bytes are refused.
   */
  async digest(extents: Extents, advance: (size: number) => void): Promise<Digests> {
    for (const { start, end, hole } of rangesOf(extents, SLOT_SIZE)) {
      for (let offset = start; offset < end; offset += SLOT_SIZE) {
        const size = Math.min(end - offset, SLOT_SIZE)
        const slot = await this.#freeSlot()
        if (!hole) {
          read(extents, new Uint8Array(this.#memory, slot * SLOT_SIZE, size), offset)
        }
        this.#users.set(slot, this.#workers.length)
        this.#request({ slot, size, hole })
        advance(size)
      }
    }
    this.#request('end')
    await once(this.#events, 'digests')
    // In the order in which they were asked for, not in that in which the threads were done.
    return new Map(this.#algorithms.map((algorithm) => [algorithm, this.#digests.get(algorithm) as string]))
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }

  #startWorker(algorithm: Algorithm): Worker {
    const workerData: DigestSetup = { algorithm, memory: this.#memory, slotSize: SLOT_SIZE }
    // What is built has this name; the compiler rewrites those of imports only.
    const worker = new Worker(new URL('./digest-worker.js', import.meta.url), { workerData, execArgv: [] })
    worker.on('error', (error) => this.#events.emit('error', error))
    worker.on('message', (response: DigestResponse) => this.#hear(algorithm, response))
    return worker
  }

  #hear(algorithm: Algorithm, response: DigestResponse): void {
    if ('digest' in response) {
      this.#digests.set(algorithm, response.digest)
      if (this.#digests.size === this.#algorithms.length) {
        this.#events.emit('digests')
      }
      return
    }
    const users = (this.#users.get(response.slot) ?? 0) - 1
    this.#users.set(response.slot, users)
    if (users === 0) {
      this.#free.push(response.slot)
      this.#events.emit('free')
    }
  }

  #request(request: DigestRequest): void {
    for (const worker of this.#workers) {
      worker.postMessage(request)
    }
  }

  async #freeSlot(): Promise<number> {
    for (;;) {
      const slot = this.#free.shift()
      if (slot !== undefined) {
        return slot
      }
      await once(this.#events, 'free')
    }
  }
}
