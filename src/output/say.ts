import { openSync, writeSync } from 'node:fs'
import { printable } from '../evidence/printable.ts'
import { OutputError } from './errors.ts'

/** Descriptor of the log, if there is one. */
let log: number | undefined

/** A line on standard error, and in the log with its time; safe for a terminal. */
export function say(text: string): void {
  const line = printable(text)
  process.stderr.write(`vmssfs: ${line}\n`)
  record(line)
}

/** A line in the log alone. */
export function note(text: string): void {
  record(printable(text))
}

function record(line: string): void {
  if (log !== undefined) {
    writeSync(log, `${new Date().toISOString()} ${line}\n`)
  }
}

/**
 * From now on keeps a log of what is said, at the end of the file: a daemon has nobody who reads its standard error.
 *
 * @throws OutputError `failed`
 */
export function logTo(path: string): void {
  try {
    log = openSync(path, 'a', 0o600)
  } catch (error) {
    throw new OutputError('failed', `${path}: expected to write the log, found ${(error as Error).message}`)
  }
}
