import { printable } from './printable.ts'

/**
 * What kind of refusal it is; the command's exit code and a read's errno follow from it.
 *
 * - `not-a-checkpoint`: the file is something else
 * - `unreadable`: the operating system would not open or read it
 * - `damaged`: the bytes contradict the format or each other
 * - `absent`: the evidence is sound and has no such thing
 * - `ambiguous`: there are several, and one must be chosen
 * - `companion-missing`: the memory is in a .vmem that was not found
 * - `truncated`: bytes that should exist do not
 * - `changed`: the file is not the one any more that was opened
 * - `encrypted`, `unsupported`: recognised, and not ours to read
 */
export type EvidenceErrorCode =
  | 'not-a-checkpoint'
  | 'unreadable'
  | 'damaged'
  | 'absent'
  | 'ambiguous'
  | 'companion-missing'
  | 'truncated'
  | 'changed'
  | 'encrypted'
  | 'unsupported'

/** What an error about evidence must say. */
export interface Finding {
  code: EvidenceErrorCode
  /** Path of the file, as it was given. */
  file: string
  /** Byte position in the file, where there is one. */
  offset?: number
  expected: string
  found: string
  /** What to try next. */
  hint?: string
  /** What there is to choose from, a line each. */
  choices?: readonly string[]
}

/**
 * Evidence that is not as it should be. Thrown where it stops the work, collected as a problem where it does not.
 * The message is one line, safe for a terminal: file, offset, what was expected, what was found.
 */
export class EvidenceError extends Error {
  override readonly name = 'EvidenceError'
  readonly finding: Finding

  constructor(finding: Finding) {
    super(describe(finding, finding.file))
    this.finding = finding
  }

  get code(): EvidenceErrorCode {
    return this.finding.code
  }

  get hint(): string | undefined {
    return this.finding.hint
  }
}

/** The one line about a finding, with the file called as the caller wishes (a mount must not depend on where the evidence lies). */
export function describe(finding: Finding, file: string): string {
  const where = finding.offset === undefined ? '' : ` at ${hex(finding.offset)}`
  return printable(`${file}${where}: expected ${finding.expected}, found ${finding.found}`)
}

/** A number as the messages and listings of this project write it: `0x1c`. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`
}
