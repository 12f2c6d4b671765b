/**
 * What a terminal sends to the whole foreground group, so that the command hears it without us. It decides what to make of
 * it, and we end when it does.
 */
export const TERMINAL_SIGNALS = ['SIGINT', 'SIGQUIT'] as const

/** What is sent to us and meant for the command. */
export const PASSED_SIGNALS = ['SIGTERM', 'SIGHUP'] as const
