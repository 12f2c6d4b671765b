import type { EvidenceFile } from '../evidence/file.ts'
import type { Guest } from './guest.ts'

/** What a file of the evidence is to its guest. */
export function roleOf(guest: Guest, file: EvidenceFile): string {
  const isMemory = guest.memory?.image.file === file
  if (guest.checkpoint?.file === file) {
    return isMemory ? 'checkpoint with memory' : 'checkpoint'
  }
  return isMemory ? 'memory' : 'other'
}
