import { writeFileSync } from 'node:fs'
import { traceOf } from '../evidence/trace.ts'

const trace = traceOf('vmssfs:fuse')

/**
 * Lets the kernel read so many KiB ahead in the mount with that device number, `major:minor`. Whatever size of request was
 * agreed upon, a buffered reader gets none larger than that, and the kernel begins with 128. Only root may change it
 * (/sys/class/bdi, Documentation/ABI/testing/sysfs-class-bdi); where it cannot be done, nothing is lost but speed.
 */
export function raiseReadAhead(device: string, size: number): void {
  try {
    writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, `${size}`)
  } catch (error) {
    trace('read-ahead stays as it is: %s', (error as Error).message)
  }
}
