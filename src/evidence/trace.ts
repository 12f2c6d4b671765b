/** Writes a line of a trace, in the format of util.format. */
export type Trace = (format: string, ...values: unknown[]) => void

/**
 * Traces a part of the program, named `vmssfs:` and its folder, where the variable DEBUG asks for it. The package that writes
 * traces is loaded only then: every thread of every mount would wait for it.
 */
export const traceOf: (namespace: string) => Trace = process.env['DEBUG']
  ? (await import('debug')).default
  : () => () => undefined
