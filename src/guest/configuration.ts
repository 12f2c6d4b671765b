import { type Checkpoint, findTag } from '../checkpoint/parse.ts'
import { readValue } from '../checkpoint/values.ts'
import { parseVmx, VMX_LIMIT } from '../checkpoint/vmx.ts'

/**
 * The settings of the machine when the checkpoint was taken, from the .vmx in `Snapshot/cfgFile`; none if there is no such.
 *
 * @throws EvidenceError `unreadable`, `changed`
 */
export function readConfiguration(checkpoint: Checkpoint): ReadonlyMap<string, string> {
  const tag = findTag(checkpoint, 'Snapshot', 'cfgFile')
  const bytes = tag && readValue(checkpoint.file, tag, 0, Math.min(tag.size, VMX_LIMIT))
  return bytes === undefined ? new Map() : parseVmx(bytes)
}
