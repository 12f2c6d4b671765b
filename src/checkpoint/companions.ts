import { basename, dirname, join, parse } from 'node:path'
import { isFolder, listFolder } from '../evidence/file.ts'

/** The .vmem that belongs to a checkpoint, if it is there, and the names that were looked for. */
export interface Companion {
  readonly path: string | undefined
  readonly tried: readonly string[]
}

/**
 * Looks beside a checkpoint for its memory: the same base name, the extension `.vmem`. That spelling comes first; where it is
 * not there, any other mixture of cases (files that went through a Windows host), the first by sorting.
 */
export function findVmem(checkpointPath: string): Companion {
  const folder = dirname(checkpointPath)
  const wanted = `${parse(checkpointPath).name}.vmem`
  const names = listFolder(folder).filter((name) => name.toLowerCase() === wanted.toLowerCase())
  const name = names.includes(wanted) ? wanted : names[0]
  return { path: name === undefined ? undefined : join(folder, name), tried: [join(folder, wanted)] }
}

/** The checkpoints in a machine's folder, or just the path itself if it is not a folder. */
export function findCheckpoints(path: string): string[] {
  if (!isFolder(path)) {
    return [path]
  }
  return listFolder(path)
    .filter((name) => /\.(vmss|vmsn)$/i.test(basename(name)))
    .map((name) => join(path, name))
}
