import { EvidenceError, hex } from '../evidence/errors.ts'
import type { EvidenceFile } from '../evidence/file.ts'

/** The first four bytes of every file of an encrypted machine ("encobj"), little-endian. */
export const ENCRYPTED_MAGIC = 0x8943dd9e

/** What such a file is refused with. */
export function encrypted(file: EvidenceFile, expected: string): EvidenceError {
  return new EvidenceError({
    code: 'encrypted',
    file: file.path,
    offset: 0,
    expected,
    found: `${hex(ENCRYPTED_MAGIC)}, an encrypted VMware file`,
    hint: 'decrypt it first, for instance with the crypto-util of an ESXi host',
  })
}
