import type { EvidenceFile } from '../evidence/file.ts'
import type { Guest } from '../guest/guest.ts'
import { roleOf } from '../guest/role.ts'

/** Who looked at the evidence, when, and with what. */
export interface Provenance {
  readonly version: string
  readonly commandLine: readonly string[]
  readonly time: Date
  /** As the examiner gave them. */
  readonly case?: string | undefined
  readonly examiner?: string | undefined
  readonly evidenceId?: string | undefined
  readonly note?: string | undefined
}

/** `meta/provenance.json`, the one file that differs between two mounts of the same evidence. Sizes are in bytes, times in UTC. */
export function provenanceJson(guest: Guest, provenance: Provenance): string {
  return `${JSON.stringify(provenanceOf(guest, provenance), undefined, 2)}\n`
}

/** The same as an object; what was not given is null. */
export function provenanceOf(guest: Guest, provenance: Provenance): object {
  const { version, commandLine, time, examiner = null, evidenceId = null, note = null } = provenance
  return {
    tool: 'vmssfs',
    version,
    commandLine,
    time: time.toISOString(),
    case: provenance.case ?? null,
    examiner,
    evidenceId,
    note,
    evidence: guest.evidence.map((file) => ({ role: roleOf(guest, file), ...identityOf(file) })),
    notes: guest.notes,
  }
}

/** Inode and device are text: they may be beyond 2^53. */
function identityOf(file: EvidenceFile): object {
  const { path, realPath, size, mtime, inode, device, keepsAccessTime } = file
  return { path, realPath, size, mtime: mtime.toISOString(), inode: `${inode}`, device: `${device}`, keepsAccessTime }
}
