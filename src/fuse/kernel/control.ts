import { closeSync } from 'node:fs'
import { performance } from 'node:perf_hooks'

/**
 * What the threads of a mount share: a few numbers in memory, for a thread that waits on the device hears nothing else. Each
 * thread has a number, from 0 on.
 */
export class Control {
  readonly memory: SharedArrayBuffer
  readonly #numbers: Int32Array

  /** The memory of another thread's Control, or the number of threads that there are going to be. */
  constructor(shared: SharedArrayBuffer | number) {
    if (typeof shared === 'number') {
      this.memory = new SharedArrayBuffer((FIRST_THREAD + shared) * Int32Array.BYTES_PER_ELEMENT)
      this.#numbers = new Int32Array(this.memory)
      this.#numbers.fill(1, FIRST_THREAD)
      this.#numbers[ALIVE] = shared
    } else {
      this.memory = shared
      this.#numbers = new Int32Array(shared)
    }
  }

  /** Lets the waiting threads go to work on the device. */
  start(device: number): void {
    Atomics.store(this.#numbers, DEVICE, device)
    this.#setState(STARTED)
  }

  /** Tells every thread to leave: those that still wait do so at once, the others with the next request that they read. */
  stop(): void {
    this.#setState(STOPPED)
  }

  /** Looked at with every request, so without the cost of Atomics: between two looks there is a system call. */
  get isStopped(): boolean {
    return this.#numbers[STATE] === STOPPED
  }

  /** How many threads have not left. */
  get alive(): number {
    return Atomics.load(this.#numbers, ALIVE)
  }

  /** The device, 0 while there is none. */
  get device(): number {
    return Atomics.load(this.#numbers, DEVICE)
  }

  /** Closes the device, if it is open: nobody may be using it any more. */
  closeDevice(): void {
    const device = Atomics.exchange(this.#numbers, DEVICE, 0)
    if (device !== 0) {
      closeSync(device)
    }
  }

  /** Waits until there is a device to work on, or nothing to wait for any more. */
  waitForStart(): void {
    Atomics.wait(this.#numbers, STATE, WAITING)
  }

  /** Says that a thread is gone or will not touch the device any more; true for the last one, and only once. */
  leave(thread: number): boolean {
    if (Atomics.exchange(this.#numbers, FIRST_THREAD + thread, 0) === 0) {
      return false
    }
    const left = Atomics.sub(this.#numbers, ALIVE, 1) - 1
    Atomics.notify(this.#numbers, ALIVE)
    return left === 0
  }

  /** Waits, without turning the event loop, until all have left; false if that takes longer than so many milliseconds. */
  waitUntilAllHaveLeft(limit: number): boolean {
    const end = performance.now() + limit
    for (let alive = this.alive; alive > 0; alive = this.alive) {
      const rest = end - performance.now()
      if (rest <= 0) {
        return false
      }
      Atomics.wait(this.#numbers, ALIVE, alive, rest)
    }
    return true
  }

  #setState(state: number): void {
    Atomics.store(this.#numbers, STATE, state)
    Atomics.notify(this.#numbers, STATE)
  }
}

/** Where the numbers stand; behind them one for each thread, 0 once it has left. */
const [STATE, DEVICE, ALIVE, FIRST_THREAD] = [0, 1, 2, 3] as const
const [WAITING, STARTED, STOPPED] = [0, 1, 2] as const
