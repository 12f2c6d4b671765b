/** Ordinary programs, timed, or used to put the page cache into the state that is wanted. */
import { spawnSync } from 'node:child_process'
import { type Evidence, MEBIBYTE } from './evidence.ts'

/**
 * Seconds that a program takes, whose output goes to /dev/null.
 *
 * @throws Error if it does not succeed.
 */
export function time(program: string, args: readonly string[]): number {
  const start = performance.now()
  const { status, error, stderr } = spawnSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
  const end = performance.now()
  if (status !== 0) {
    throw new Error(`${[program, ...args].join(' ')}: expected that it succeeds, found ${error?.message ?? stderr}`)
  }
  return (end - start) / 1000
}

/** Seconds that it takes to read the first `size` bytes of a file, a MiB at a time. */
export function timeCopy(file: string, size: number, flags: readonly string[] = []): number {
  return time('dd', [`if=${file}`, 'of=/dev/null', 'bs=1M', `count=${size / MEBIBYTE}`, ...flags])
}

/** Drops what the kernel keeps of a file: dd does so when it copies nothing at all. */
export function forget(file: string): void {
  time('dd', [`if=${file}`, 'iflag=nocache', 'count=0'])
}

/**
 * Reads an image whole into memory. Wherever it was, it is in the page cache then, and as much memory as it is large is free
 * that has just been used: a virtual machine's host takes its time to find memory, and takes back what was free for long.
 */
export function warmUp({ image }: Evidence): void {
  if (image !== undefined) {
    time('dd', [`if=${image.path}`, 'of=/dev/null', 'bs=1G', 'count=1'])
  }
}
