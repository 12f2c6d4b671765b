import { openEvidence } from '../evidence/file.ts'

/** A genuine .vmx or .vmsd has a few KiB; what a larger one says beyond this is not looked at. In bytes. */
const MOST = 1024 * 1024

/**
 * The settings of a .vmx or .vmsd, lines of `key = "value"`. Keys are in lower case, for VMware does not tell them apart by
 * case; of a key that is repeated the last value holds. `|22` stands for the byte 0x22.
 */
export function parseVmx(bytes: Uint8Array): Map<string, string> {
  const text = decode(bytes.subarray(0, MOST))
  const settings = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    const [, key, value] = /^\s*([^\s=#]+)\s*=\s*"([^"]*)"/.exec(line) ?? []
    if (key !== undefined && value !== undefined) {
      settings.set(key.toLowerCase(), unescapeValue(value))
    }
  }
  return settings
}

/**
 * The settings in a file.
 *
 * @throws EvidenceError `unreadable`
 */
export function readVmx(path: string): Map<string, string> {
  const file = openEvidence(path)
  try {
    const bytes = Buffer.alloc(Math.min(file.size, MOST))
    file.read(bytes, 0)
    return parseVmx(bytes)
  } finally {
    file.close()
  }
}

/** A .vmx names its own encoding, in ASCII; without that, or with one that is not known here, UTF-8 is tried first. */
function decode(bytes: Uint8Array): string {
  const latin1 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  const [, encoding = 'UTF-8'] = /^\s*\.encoding\s*=\s*"([^"]*)"/im.exec(latin1) ?? []
  for (const label of [encoding, 'UTF-8', 'windows-1252']) {
    try {
      return new TextDecoder(label, { fatal: true }).decode(bytes)
    } catch {
      // Not that one.
    }
  }
  return latin1
}

function unescapeValue(value: string): string {
  return value.replace(/\|([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}
