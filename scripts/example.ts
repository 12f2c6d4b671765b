/**
 * Makes an example: a suspended guest that never was, for a first look, for the manual and for trying things out.
 * It is written by the builder of the tests, so the program has no part in it.
 */
import { mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { writeCheckpoint, writeSparse } from '../test/support/checkpoint.ts'
import { makeGroups } from './example/groups.ts'
import { makeMemory } from './example/memory.ts'

/**
 * Writes `example.vmss` and `example.vmem`, a sparse file of 5 GiB with less than 16 MiB in it, into `directory`, which is
 * made if need be. The bytes are always the same. Files that are there with the right sizes are left alone.
 */
export function makeExample(directory: string): { vmss: string; vmem: string } {
  mkdirSync(directory, { recursive: true })
  const vmss = join(directory, 'example.vmss')
  const vmem = join(directory, 'example.vmem')
  const { image, knownZero } = makeMemory()
  replaceUnlessSameSize(vmem, (path) => writeSparse(path, image))
  replaceUnlessSameSize(vmss, (path) => writeCheckpoint(path, { groups: makeGroups(knownZero) }))
  return { vmss, vmem }
}

/** Never writes into the file itself: it may be mounted. */
function replaceUnlessSameSize(path: string, write: (path: string) => void): void {
  const fresh = `${path}.${process.pid}`
  write(fresh)
  if (statSync(path, { throwIfNoEntry: false })?.size === statSync(fresh).size) {
    rmSync(fresh)
  } else {
    renameSync(fresh, path)
  }
}
