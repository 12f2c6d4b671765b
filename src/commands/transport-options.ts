import type { MountOptions } from '../fuse/mount.ts'
import { UsageError } from './errors.ts'

/** What a command line can say of how the kernel's requests are served. `run` has no choice of the transport. */
export interface TransportArguments {
  readonly transport?: MountOptions['transport']
  readonly workers?: string
  /** In KiB. */
  readonly readAhead?: string
  readonly passthrough?: boolean
}

/** More threads than any machine could feed. */
const MOST_WORKERS = 256

/** What the kernel can count in bytes. */
const MOST_READ_AHEAD = 4_194_303

/** @throws UsageError for a number that cannot be meant. */
export function transportOptions(given: TransportArguments): Partial<MountOptions> {
  const { transport, workers, readAhead, passthrough } = given
  return {
    ...(transport === undefined ? {} : { transport }),
    ...(workers === undefined ? {} : { workers: numberFrom('--workers', workers, 1, MOST_WORKERS) }),
    ...(readAhead === undefined ? {} : { readAhead: numberFrom('--read-ahead', readAhead, 0, MOST_READ_AHEAD) }),
    ...(passthrough === undefined ? {} : { passthrough }),
  }
}

function numberFrom(option: string, text: string, least: number, most: number): number {
  const number = Number(text)
  if (!/^[0-9]+$/.test(text) || number < least || number > most) {
    throw new UsageError(`${option}: expected a number from ${least} to ${most}, found "${text}"`)
  }
  return number
}
