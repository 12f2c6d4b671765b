import { basename, dirname, parse } from 'node:path'
import { filesOfKind, findCheckpoints, kindOf } from '../checkpoint/companions.ts'
import { parseCheckpoint } from '../checkpoint/parse.ts'
import { type Snapshot, snapshotsOf } from '../checkpoint/vmsd.ts'
import { readVmx } from '../checkpoint/vmx.ts'
import { EvidenceError } from '../evidence/errors.ts'
import { isFolder, openEvidence } from '../evidence/file.ts'
import { expectedImageSize } from './regions.ts'

/** Which files to open; at least one of the two is there. */
export interface Choice {
  readonly checkpoint?: string
  /** Where the memory is, if it was given and need not be looked for. */
  readonly vmem?: string
  /** What was chosen that could have been chosen otherwise. */
  readonly notes: readonly string[]
}

/** A checkpoint that may be meant, and what the machine's .vmsd says of it. */
interface Candidate {
  readonly path: string
  readonly snapshot: Snapshot | undefined
}

/**
 * Finds out what is meant by a path: a checkpoint, a .vmem, a .vmx or .vmsd, or the folder of a machine.
 *
 * @param wanted the name, uid or file of the snapshot that is meant, where there are several
 * @throws EvidenceError `ambiguous` with the choices, `encrypted`, `unsupported`, `not-a-checkpoint`, `unreadable`
 */
export function chooseEvidence(path: string, wanted: string | undefined): Choice {
  if (isFolder(path)) {
    return chooseInFolder(path, undefined, path, wanted)
  }
  switch (kindOf(path)) {
    case 'vmem':
      return chooseForVmem(path)
    case 'vmx':
      refuseEncryptedVmx(path)
      return chooseInFolder(dirname(path), parse(path).name, path, wanted)
    case 'vmsd':
      return chooseInFolder(dirname(path), parse(path).name, path, wanted)
    case 'guest':
      throw new EvidenceError({
        code: 'unsupported',
        file: path,
        expected: 'a checkpoint',
        found: 'a .guest file, the dump of a monitor',
        hint: 'crash reads it together with its debug.vmem',
      })
    case 'checkpoint':
      return { checkpoint: path, notes: [] }
  }
}

/** A .vmem with the checkpoint beside it. Of two the one whose memory has its size, or else the .vmss. */
function chooseForVmem(vmem: string): Choice {
  const [first, second] = findCheckpoints(vmem)
  if (first === undefined) {
    return { vmem, notes: [`${vmem}: no .vmss or .vmsn is beside it, so where its memory lies is assumed`] }
  }
  if (second === undefined) {
    return { checkpoint: first, vmem, notes: [] }
  }
  const size = sizeOfFile(vmem)
  const [firstFits, secondFits] = [first, second].map((checkpoint) => imageSizeFor(checkpoint) === size)
  const checkpoint = secondFits && !firstFits ? second : first
  const reason =
    firstFits === secondFits ? 'its size does not tell which one it belongs to' : `it has that memory's size`
  return { checkpoint, vmem, notes: [`${vmem}: of ${first} and ${second}, ${checkpoint} is used: ${reason}`] }
}

/**
 * One of the checkpoints in a folder; of those alone that belong to the machine with that base name, where one is given.
 */
function chooseInFolder(folder: string, base: string | undefined, given: string, wanted: string | undefined): Choice {
  const candidates = candidatesIn(folder, base)
  if (candidates.length === 0) {
    const [vmem, ...others] = filesOfKind(folder, 'vmem')
    if (vmem !== undefined && others.length === 0 && wanted === undefined) {
      return chooseForVmem(vmem)
    }
    throw new EvidenceError({
      code: 'not-a-checkpoint',
      file: given,
      expected: 'a .vmss or .vmsn in the folder',
      found: 'none',
    })
  }
  const chosen = wanted === undefined ? candidates : candidates.filter((candidate) => isNamed(candidate, wanted))
  const [only] = chosen
  if (only === undefined || chosen.length > 1) {
    throw new EvidenceError({
      code: 'ambiguous',
      file: given,
      expected: wanted === undefined ? 'one checkpoint' : `one checkpoint that is called "${wanted}"`,
      found: `${chosen.length}${wanted === undefined ? '' : ` of ${candidates.length}`}`,
      hint: 'choose with --snapshot NAME, UID or FILE',
      choices: candidates.map((candidate) => describeCandidate(candidate, candidates)),
    })
  }
  const notes =
    candidates.length > 1 || wanted !== undefined ? [] : [`${given}: ${only.path} is used, the only checkpoint`]
  return { checkpoint: only.path, notes }
}

function candidatesIn(folder: string, base: string | undefined): Candidate[] {
  const snapshots = new Map<string, Snapshot>()
  for (const vmsd of filesOfKind(folder, 'vmsd').filter((path) => base === undefined || isOfMachine(path, base))) {
    for (const snapshot of snapshotsOf(readVmx(vmsd))) {
      // Its path, if it has one, is of the machine where it was taken, and no place for us to go.
      snapshots.set(lastPart(snapshot.filename).toLowerCase(), snapshot)
    }
  }
  return filesOfKind(folder, 'checkpoint')
    .map((path) => ({ path, snapshot: snapshots.get(basename(path).toLowerCase()) }))
    .filter(({ path, snapshot }) => base === undefined || snapshot !== undefined || isOfMachine(path, base))
}

/** Whether a file belongs to the machine with that base name: `vm.vmsd`, `vm-Snapshot1.vmsn`. */
function isOfMachine(path: string, base: string): boolean {
  const [name, start] = [parse(path).name.toLowerCase(), base.toLowerCase()]
  return name === start || name.startsWith(`${start}-`)
}

function isNamed({ path, snapshot }: Candidate, wanted: string): boolean {
  return wanted === path || wanted === basename(path) || wanted === snapshot?.displayName || wanted === snapshot?.uid
}

function describeCandidate({ path, snapshot }: Candidate, candidates: readonly Candidate[]): string {
  if (snapshot === undefined) {
    return basename(path)
  }
  const parent = candidates.find((candidate) => candidate.snapshot?.uid === snapshot.parent)?.snapshot
  const details = [
    `"${snapshot.displayName}"`,
    `uid ${snapshot.uid}`,
    snapshot.created?.toISOString(),
    parent === undefined ? undefined : `on top of "${parent.displayName}"`,
    snapshot.description === '' ? undefined : `"${snapshot.description}"`,
  ]
  return `${basename(path)}: ${details.filter((detail) => detail !== undefined).join(', ')}`
}

/** An encrypted machine's .vmx is text all the same, and says so itself. */
function refuseEncryptedVmx(path: string): void {
  const settings = readVmx(path)
  if (settings.has('encryption.keysafe') || settings.has('encryption.data')) {
    throw new EvidenceError({
      code: 'encrypted',
      file: path,
      expected: 'the .vmx of a machine in the clear',
      found: 'encryption.keySafe, so its memory and checkpoints are encrypted',
      hint: 'decrypt the machine first, or give a checkpoint of it that is not encrypted',
    })
  }
}

function imageSizeFor(checkpointPath: string): number | undefined {
  const file = openEvidence(checkpointPath)
  try {
    return expectedImageSize(parseCheckpoint(file))
  } catch (error) {
    if (error instanceof EvidenceError) {
      return undefined
    }
    throw error
  } finally {
    file.close()
  }
}

function sizeOfFile(path: string): number {
  const file = openEvidence(path)
  file.close()
  return file.size
}

/** The last part of a path of whatever system it was written on. */
function lastPart(path: string): string {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
}
