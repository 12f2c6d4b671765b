import { dirname, join, parse } from 'node:path'
import { listFolder } from '../evidence/file.ts'

// Files of one machine lie in one folder: `vm.vmx`, `vm.vmsd`, `vm-1a2b3c4d.vmss`, `vm-Snapshot1.vmsn`, and beside each
// checkpoint, under its base name, its `.vmem`. Files that went through a Windows host may have changed their case.

/** Extensions of checkpoints, the one that wins first. */
const CHECKPOINT_EXTENSIONS = ['.vmss', '.vmsn']

/** What VMware's naming makes of a path. */
export type EvidenceKind = 'checkpoint' | 'vmem' | 'vmx' | 'vmsd' | 'guest'

/** What a file is, by its extension; whatever is no other kind should be a checkpoint, which its magic decides. */
export function kindOf(path: string): EvidenceKind {
  const extension = parse(path).ext.toLowerCase()
  switch (extension) {
    case '.vmem':
    case '.vmx':
    case '.vmsd':
    case '.guest':
      return extension.slice(1) as EvidenceKind
    default:
      return 'checkpoint'
  }
}

/** The .vmem that belongs to a checkpoint, if it is there, and the name that was looked for, in any mixture of cases. */
export function findVmem(checkpointPath: string): { path: string | undefined; wanted: string } {
  return { path: beside(checkpointPath, '.vmem'), wanted: withExtension(checkpointPath, '.vmem') }
}

/** The checkpoints that a .vmem may belong to: none, a .vmss, a .vmsn, or both in this order. */
export function findCheckpoints(vmemPath: string): string[] {
  return CHECKPOINT_EXTENSIONS.flatMap((extension) => beside(vmemPath, extension) ?? [])
}

/** The files of a folder, sorted, that are checkpoints, or of another kind where one is named. */
export function filesOfKind(folder: string, kind: EvidenceKind): string[] {
  const isOfKind = (name: string) =>
    kind === 'checkpoint'
      ? CHECKPOINT_EXTENSIONS.includes(parse(name).ext.toLowerCase())
      : parse(name).ext.toLowerCase() === `.${kind}`
  return listFolder(folder)
    .filter(isOfKind)
    .map((name) => join(folder, name))
}

/**
 * The file with the same base name and another extension, in lower case as VMware writes it; where that is not there, in any
 * other mixture of cases, the first by sorting.
 */
function beside(path: string, extension: string): string | undefined {
  const wanted = parse(withExtension(path, extension)).base
  const names = listFolder(dirname(path)).filter((name) => name.toLowerCase() === wanted.toLowerCase())
  const name = names.includes(wanted) ? wanted : names[0]
  return name === undefined ? undefined : join(dirname(path), name)
}

function withExtension(path: string, extension: string): string {
  return join(dirname(path), `${parse(path).name}${extension}`)
}
