import { constants } from 'node:os'

/** What a shell adds to the number of the signal that ended a program. */
const SIGNALLED = 128

/** The exit status that stands for how a process ended: its own, or 128 and the number of the signal that ended it. */
export function exitStatusOf(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? SIGNALLED + constants.signals[signal as NodeJS.Signals]
}
