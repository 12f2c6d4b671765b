import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import type { EvidenceFile } from '../../evidence/file.ts'
import { type PlainExtents, toPlain } from '../../evidence/share.ts'
import type { File } from '../../tree/node.ts'
import { MountError } from '../errors.ts'
import { Control } from './control.ts'
import type { Settings } from './formalities.ts'

/** What a thread is given when it starts. */
export interface WorkerSetup {
  readonly memory: SharedArrayBuffer
  /** Its number. */
  readonly thread: number
  readonly port: MessagePort
}

/** What a thread is told; it looks when it must, for it does not listen. */
export type ToWorker =
  | { readonly kind: 'settings'; readonly settings: Settings }
  | { readonly kind: 'tables'; readonly tables: readonly (readonly [inode: number, PlainExtents])[] }

/**
 * What a thread has to say: that it has loaded what it needs, a request that needs the tree, an evidence file that has
 * changed, a bug of ours.
 */
export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'request'; readonly bytes: ArrayBuffer }
  | { readonly kind: 'change'; readonly descriptor: number; readonly found: string }
  | { readonly kind: 'bug'; readonly text: string }

/** Of the heap of a thread, in MiB: what it needs, it allocates once. */
const HEAP_LIMITS = { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 64 }

/**
 * The threads of a mount. The first is started before there is a device, so that its starting costs no time, and the others
 * when it serves, so that they do not keep processors from what comes before.
 */
export class Workers {
  /** Resolves when the first can serve. Rejects if it cannot be started. */
  readonly ready: Promise<void>
  /** Resolves when all have ended, because the mount has. */
  readonly ended: Promise<void>
  readonly #control: Control
  readonly #count: number
  readonly #endings: Promise<void>[] = []
  #onRequest: (bytes: Buffer, thread: number) => void = () => undefined
  readonly #ports: MessagePort[] = []
  readonly #evidence = new Map<number, EvidenceFile>()

  constructor(count: number) {
    this.#control = new Control(count)
    this.#count = count
    const first = this.#start(0)
    this.ready = first.ready
    this.ended = first.ended.then(() => this.#end())
    // Whoever waits for it hears of it.
    this.ready.catch(() => undefined)
  }

  /** Lets them serve the device, which belongs to them from now on, and pass on what needs the tree, with their number. */
  serve(device: number, settings: Settings, onRequest: (bytes: Buffer, thread: number) => void): void {
    this.#onRequest = onRequest
    for (let thread = 1; thread < this.#count; thread++) {
      const { ready, ended } = this.#start(thread)
      // The others serve without it, and why it cannot is said.
      ready.catch(() => undefined)
      this.#endings.push(ended)
    }
    for (const port of this.#ports) {
      tell(port, { kind: 'settings', settings })
    }
    this.#control.start(device)
  }

  get count(): number {
    return this.#count
  }

  /** Lets them end: there will be no device. */
  cancel(): void {
    this.#control.stop()
  }

  /** The device, as long as it is open and the threads are on it. */
  get device(): number | undefined {
    return this.isServing ? this.#control.device : undefined
  }

  get isServing(): boolean {
    return this.#control.device !== 0 && this.#control.alive > 0
  }

  /** Gives a thread the tables of files, so that it can read those without asking. */
  teach(thread: number, files: readonly File[]): void {
    if (files.length === 0) {
      return
    }
    const tables = files.map(({ inode, extents }) => {
      for (const extent of extents) {
        if (extent.kind === 'file') {
          this.#evidence.set(extent.file.handle.descriptor, extent.file)
        }
      }
      return [inode, toPlain(extents)] as const
    })
    tell(this.#ports[thread] as MessagePort, { kind: 'tables', tables })
  }

  /** Waits so many milliseconds, blocking, for the threads to end by themselves; false if they have not. */
  waitUntilEnded(limit: number): boolean {
    return this.#control.waitUntilAllHaveLeft(limit)
  }

  /**
   * Makes all threads leave the device, though the mount is still there. Each of them waits in read(2), which nothing but a
   * request can end: so `ask` must make the kernel send one, and is called, blocking, until the last has left.
   */
  stop(ask: () => void): void {
    this.#control.stop()
    while (this.isServing) {
      ask()
    }
  }

  #start(thread: number): { ready: Promise<void>; ended: Promise<void> } {
    const { port1, port2 } = new MessageChannel()
    const setup: WorkerSetup = { memory: this.#control.memory, thread, port: port2 }
    // What is built has this name; the compiler rewrites those of imports only.
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: setup,
      transferList: [port2],
      // Options of the process, such as --eval, need not suit a thread.
      execArgv: [],
      resourceLimits: HEAP_LIMITS,
    })
    this.#ports.push(port1)
    const ended = new Promise<void>((resolve) => {
      worker.on('error', (error) => sayBug(`${error.stack}`))
      worker.on('exit', () => {
        // It has said so itself, unless it met a sudden end.
        this.#control.leave(thread)
        resolve()
      })
    })
    const ready = new Promise<void>((resolve, reject) => {
      worker.on('message', (message: FromWorker) => {
        switch (message.kind) {
          case 'ready':
            return resolve()
          case 'request':
            return this.#onRequest(Buffer.from(message.bytes), thread)
          case 'change':
            return this.#evidence.get(message.descriptor)?.noteChange(message.found)
          case 'bug':
            return sayBug(message.text)
        }
      })
      ended.then(() => reject(new MountError('expected to start a thread that serves, found that it ended')))
    })
    return { ready, ended }
  }

  async #end(): Promise<void> {
    await Promise.all(this.#endings)
    for (const port of this.#ports) {
      port.close()
    }
    this.#control.closeDevice()
  }
}

function tell(port: MessagePort, message: ToWorker): void {
  port.postMessage(message)
}

function sayBug(text: string): void {
  process.stderr.write(`vmssfs: a bug: ${text}\n`)
}
