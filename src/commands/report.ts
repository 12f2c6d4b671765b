import { EvidenceError, type EvidenceErrorCode } from '../evidence/errors.ts'
import { printable } from '../evidence/printable.ts'
import { MountError } from '../fuse/errors.ts'
import { OutputError } from '../output/errors.ts'
import { IncompleteError, InterruptedError, MismatchError, UsageError } from './errors.ts'
import { exitStatusOf } from './exit-status.ts'

const [DONE, BUG, USAGE, MOUNT_FAILED, MISMATCH, OUTPUT_FAILED] = [0, 1, 2, 9, 10, 11]

/** Exit codes are part of the contract: README, "Exit codes". */
const EVIDENCE_EXIT_CODES: Record<EvidenceErrorCode, number> = {
  ambiguous: USAGE,
  'not-a-checkpoint': 3,
  unreadable: 3,
  damaged: 3,
  absent: 4,
  'companion-missing': 5,
  truncated: 6,
  changed: 6,
  encrypted: 7,
  unsupported: 8,
}

const OUTPUT_EXIT_CODES = { exists: USAGE, failed: OUTPUT_FAILED }

/** Says on standard error what ended a command and returns the exit code. Only a bug shows a stack. */
export function report(error: unknown): number {
  if (error instanceof EvidenceError) {
    return complain(EVIDENCE_EXIT_CODES[error.code], error.message, error.hint, error.finding.choices)
  }
  if (error instanceof MountError) {
    return complain(MOUNT_FAILED, printable(error.message), error.hint)
  }
  if (error instanceof OutputError) {
    return error.kind === 'closed'
      ? DONE
      : complain(OUTPUT_EXIT_CODES[error.kind], printable(error.message), error.hint)
  }
  if (error instanceof IncompleteError) {
    return complain(EVIDENCE_EXIT_CODES[error.first.code], printable(error.message))
  }
  if (error instanceof MismatchError) {
    return complain(MISMATCH, printable(error.message))
  }
  if (error instanceof InterruptedError) {
    return complain(exitStatusOf(null, error.signal), error.message)
  }
  if (error instanceof UsageError) {
    return complain(USAGE, printable(error.message), 'vmssfs --help')
  }
  process.stderr.write(`vmssfs: a bug: ${error instanceof Error ? error.stack : error}\n`)
  return BUG
}

function complain(code: number, message: string, hint?: string, choices: readonly string[] = []): number {
  const lines = [`vmssfs: ${message}`, ...choices.map((choice) => `        ${printable(choice)}`)]
  if (hint !== undefined) {
    lines.push(`        try: ${printable(hint)}`)
  }
  process.stderr.write(`${lines.join('\n')}\n`)
  return code
}
