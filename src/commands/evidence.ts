import { printable } from '../evidence/printable.ts'
import { type Guest, openCheckpoint } from '../guest/guest.ts'

/** What every command line can say of the evidence besides its path. */
export interface EvidenceArguments {
  readonly vmem?: string
  /** `false` for --no-memory. */
  readonly memory?: boolean
}

/** Problems said on standard error; the rest stands in meta/problems.txt. */
const PROBLEMS_SAID = 10

/**
 * Opens the evidence, and says on standard error what should be known of it.
 *
 * @throws EvidenceError
 */
export function openGuest(evidence: string, { vmem, memory }: EvidenceArguments): Guest {
  const guest = openCheckpoint(evidence, { vmem, memory })
  for (const note of guest.notes) {
    say(`note: ${note}`)
  }
  for (const { message } of guest.problems.slice(0, PROBLEMS_SAID)) {
    say(`problem: ${message}`)
  }
  if (guest.problems.length > PROBLEMS_SAID) {
    say(`problem: ${guest.problems.length - PROBLEMS_SAID} more, see meta/problems.txt`)
  }
  return guest
}

/** A line on standard error, safe for a terminal. */
export function say(text: string): void {
  process.stderr.write(`vmssfs: ${printable(text)}\n`)
}
