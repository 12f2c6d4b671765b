import type { SingleBar } from 'cli-progress'

const MEBIBYTE = 1024 * 1024

/** Work that takes less, in milliseconds, shows no bar. */
const PATIENCE = 500

/** How far the work is: a bar on standard error, with the rate and the time that is left, if that is a terminal. */
export class Progress {
  readonly #bar: SingleBar | undefined
  readonly #total: number
  readonly #start = performance.now()
  #done = 0
  #shown = false

  /** Use {@link startProgress}. */
  constructor(bar: SingleBar | undefined, total: number) {
    this.#bar = bar
    this.#total = total
  }

  /** So many more bytes are done. */
  advance(size: number): void {
    this.#done += size
    const elapsed = performance.now() - this.#start
    if (this.#bar === undefined || elapsed < PATIENCE) {
      return
    }
    const rate = this.#done / (elapsed / 1000)
    const left = Math.ceil(Math.max(this.#total - this.#done, 0) / rate)
    const texts = { rate: `${Math.round(rate / MEBIBYTE)} MiB/s`, left: `${duration(left)} left` }
    if (this.#shown) {
      this.#bar.update(this.#done, texts)
    } else {
      this.#bar.start(this.#total, this.#done, texts)
      this.#shown = true
    }
  }

  /** Takes the bar away, so that there is room for something else; the next advance brings it back. */
  clear(): void {
    if (this.#shown) {
      this.#bar?.stop()
      this.#shown = false
    }
  }
}

/** Starts to watch over work; `totalSize`, of all of it in bytes, is asked for only where a bar can be shown. */
export async function startProgress(totalSize: () => number): Promise<Progress> {
  if (!process.stderr.isTTY || process.env['TERM'] === 'dumb') {
    return new Progress(undefined, 0)
  }
  const { default: progress } = await import('cli-progress')
  // Signals are ours to handle; and as one may end us at any time, no setting of the terminal is changed.
  const options = {
    format: '{bar} {percentage}%  {rate}  {left}',
    clearOnComplete: true,
    linewrap: true,
    gracefulExit: false,
  }
  return new Progress(new progress.SingleBar(options, progress.Presets.legacy), totalSize())
}

function duration(seconds: number): string {
  const pair = (number: number) => `${number}`.padStart(2, '0')
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60]
  return `${hours > 0 ? `${hours}:${pair(minutes)}` : minutes}:${pair(seconds % 60)}`
}
