/** What /proc says of processes that were started with a certain variable in their environment. */
import { readdirSync, readFileSync } from 'node:fs'

/** What /proc counts times in, on every Linux: hundredths of a second. */
const TICKS_PER_SECOND = 100

/** Where utime and stime stand in /proc/PID/stat, counted from the state, which is the first behind the name (proc(5)). */
const [UTIME, STIME] = [11, 12] as const

/** The processes that have the variable, be they daemons or children of daemons. */
export function processesWith(variable: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && readOf(pid, 'environ').split('\0').includes(variable))
}

/** Seconds of processor time that a process has used, its own and the kernel's on its behalf. */
export function processorTimeOf(pid: number): number {
  const stat = readOf(pid, 'stat')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[UTIME]) + Number(fields[STIME])) / TICKS_PER_SECOND
}

/** Bytes of memory that are resident. */
export function residentSizeOf(pid: number): number {
  const [, kibibytes] = /^VmRSS:\s*(\d+) kB$/m.exec(readOf(pid, 'status')) ?? []
  return Number(kibibytes) * 1024
}

/** Empty for a process that has ended since. */
function readOf(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}
