import type { EvidenceError } from '../evidence/errors.ts'

/** A command line that cannot be meant. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Work that was done but for some files, each of which has been told of; `first` is what was wrong with the first of them. */
export class IncompleteError extends Error {
  override readonly name = 'IncompleteError'
  readonly first: EvidenceError

  constructor(message: string, first: EvidenceError) {
    super(message)
    this.first = first
  }
}

/** Digests that are not those of a list; each has been told of. */
export class MismatchError extends Error {
  override readonly name = 'MismatchError'
}

/** Work that a signal ended. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError'
  readonly signal: NodeJS.Signals

  constructor(signal: NodeJS.Signals, message: string) {
    super(message)
    this.signal = signal
  }
}
