/** A thread that reads pages of a file, as little else as it can, at the same moment as others. */
import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { PAGE } from './evidence.ts'

/** What it is told to read; it begins when the first number of `gate` is not 0 any more. */
export interface Order {
  readonly file: string
  readonly offsets: readonly number[]
  readonly gate: Int32Array
}

/** That it has opened the file, and when it read, in seconds on a clock that all threads have in common. */
export type FromReader = { readonly kind: 'ready' } | { readonly kind: 'done'; start: number; end: number }

const target = Buffer.from(new ArrayBuffer(PAGE))

parentPort?.on('message', ({ file, offsets, gate }: Order) => {
  const descriptor = openSync(file, 'r')
  tell({ kind: 'ready' })
  Atomics.wait(gate, 0, 0)
  const start = now()
  for (const offset of offsets) {
    readSync(descriptor, target, 0, PAGE, offset)
  }
  const end = now()
  closeSync(descriptor)
  tell({ kind: 'done', start, end })
})

function now(): number {
  return Number(process.hrtime.bigint()) / 1e9
}

function tell(message: FromReader): void {
  parentPort?.postMessage(message)
}
