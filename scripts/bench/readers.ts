import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { FromReader, Order } from './reader.ts'

/** Threads that read at once. They are the same for all subjects, and wait for the next order in between. */
export class Readers {
  readonly #threads: Worker[]

  constructor(count: number) {
    // What is built has this name; the compiler rewrites those of imports only.
    this.#threads = Array.from({ length: count }, () => new Worker(new URL('./reader.js', import.meta.url)))
  }

  /** Has one thread for each list of offsets read a page at each of them; how many pages they read in a second, together. */
  async read(file: string, lists: readonly (readonly number[])[]): Promise<number> {
    const gate = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
    const threads = this.#threads.slice(0, lists.length)
    const ready = Promise.all(threads.map(hear))
    for (const [index, offsets] of lists.entries()) {
      threads[index]?.postMessage({ file, offsets, gate } satisfies Order)
    }
    await ready
    const done = Promise.all(threads.map(hear))
    Atomics.store(gate, 0, 1)
    Atomics.notify(gate, 0)
    const times = (await done).flatMap((message) => (message.kind === 'done' ? [message] : []))
    const seconds = Math.max(...times.map(({ end }) => end)) - Math.min(...times.map(({ start }) => start))
    return lists.flat().length / seconds
  }

  async end(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.terminate()))
  }
}

async function hear(thread: Worker): Promise<FromReader> {
  const [message] = await once(thread, 'message')
  return message as FromReader
}
