import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { makeFlat, makeHole, makeLarge, makeTags } from './evidence.ts'
import type { Readers } from './readers.ts'
import type { Part } from './rounds.ts'
import { ROWS, TAG_COUNTS } from './rows.ts'
import { findTrial, firstByteTrial, flatTrials, holeTrial, listTrial } from './trials.ts'

/** Everything that is measured, the flat guest first, and makes the evidence for it in a folder of the directory. */
export function makeParts(directory: string, readers: Readers): [Part, ...Part[]] {
  // A folder of its own, which bindfs shows: mountpoints are not to be in it.
  const folder = join(directory, 'evidence')
  mkdirSync(folder)
  const [some, many] = TAG_COUNTS
  return [
    { ...STANDING, name: 'flat guest', evidence: makeFlat(folder), trials: flatTrials(readers) },
    { ...STANDING, name: 'guest with a hole', evidence: makeHole(folder), trials: [holeTrial] },
    { ...FRESH, name: 'large guest', evidence: makeLarge(folder), trials: [firstByteTrial] },
    { ...SLOW, name: `${some} tags`, evidence: makeTags(folder, some), trials: [findTrial(ROWS.findSome), listTrial] },
    { ...SLOW, name: `${many} tags`, evidence: makeTags(folder, many), trials: [findTrial(ROWS.findMany)] },
  ]
}

const STANDING = { isFresh: false, isSlow: false }
const FRESH = { isFresh: true, isSlow: false }
const SLOW = { isFresh: true, isSlow: true }
