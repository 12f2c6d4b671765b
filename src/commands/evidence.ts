import { readFileSync } from 'node:fs'
import { type Guest, type OpenOptions, openCheckpoint } from '../guest/guest.ts'
import { say } from '../output/say.ts'
import type { Directory } from '../tree/node.ts'
import { planTree } from '../tree/plan.ts'
import type { Provenance } from '../tree/provenance.ts'

/** What every command line can say of the evidence besides its path. */
export interface EvidenceArguments extends OpenOptions {
  readonly case?: string
  readonly examiner?: string
  readonly evidenceId?: string
  readonly note?: string
}

export { say }

/** Problems said on standard error; the rest stands in meta/problems.txt. */
const PROBLEMS_SAID = 10

/**
 * Opens the evidence, and says on standard error what should be known of it.
 *
 * @throws EvidenceError
 */
export function openGuest(evidence: string, given: EvidenceArguments): Guest {
  const guest = openCheckpoint(evidence, given)
  for (const file of guest.evidence) {
    file.onChange = (change) => say(`${change.message}; from now on it is not read any more`)
  }
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

/** The same, with the tree that a mount of it has. */
export function openTree(evidence: string, given: EvidenceArguments): { guest: Guest; root: Directory } {
  const guest = openGuest(evidence, given)
  return { guest, root: planTree(guest, provenanceOfThisRun(given)) }
}

/** What this command puts on record of itself. */
export function provenanceOfThisRun(given: EvidenceArguments): Provenance {
  const { examiner, evidenceId, note } = given
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
  return { version, commandLine: process.argv, time: new Date(), case: given.case, examiner, evidenceId, note }
}
