import type { ChildProcess } from 'node:child_process'

/** What a terminal sends to the whole foreground group, so that the command hears it without us. */
const TERMINAL_SIGNALS = ['SIGINT', 'SIGQUIT'] as const

/** What is sent to us and meant for the command. */
const PASSED_SIGNALS = ['SIGTERM', 'SIGHUP'] as const

/** From now on what a terminal sends does not end us: the command decides what to make of it, and we end when it does. */
export function leaveTerminalSignals(): void {
  for (const signal of TERMINAL_SIGNALS) {
    process.on(signal, () => undefined)
  }
}

/** From now on passes signals on to a process, which may not be there yet. */
export function passSignalsTo(child: () => ChildProcess | undefined): void {
  for (const signal of PASSED_SIGNALS) {
    process.on(signal, () => child()?.kill(signal))
  }
}
