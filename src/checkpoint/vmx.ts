import { openEvidence } from '../evidence/file.ts'

/** A genuine .vmx or .vmsd has a few KiB; what a larger one says beyond this is not looked at. In bytes. */
export const VMX_LIMIT = 1024 * 1024

/** The characters 0x80 to 0x9f, by the Encoding Standard. */
const WINDOWS_1252 = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ'

/**
 * The settings of a .vmx or .vmsd, lines of `key = "value"`. Keys are in lower case, for VMware does not tell them apart by
 * case; of a key that is repeated the last value holds. `|22` stands for the byte 0x22.
 */
export function parseVmx(bytes: Uint8Array): Map<string, string> {
  const text = decode(bytes.subarray(0, VMX_LIMIT))
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
    const bytes = Buffer.alloc(Math.min(file.size, VMX_LIMIT))
    file.read(bytes, 0)
    return parseVmx(bytes)
  } finally {
    file.close()
  }
}

/** A .vmx names its own encoding, in ASCII; without that, or with one that is not known or not true, it is UTF-8 if that is valid. */
function decode(bytes: Uint8Array): string {
  const latin1 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  // Blanks alone: an \s before it would go over all the empty lines that follow, from each of them again.
  const [, encoding = 'UTF-8'] = /^[ \t]*\.encoding[ \t]*=[ \t]*"([^"\r\n]*)"/im.exec(latin1) ?? []
  // What was cut off at the limit may have been cut within a character.
  const stream = bytes.length === VMX_LIMIT
  for (const label of [encoding, 'UTF-8']) {
    try {
      const decoder = new TextDecoder(label, { fatal: true })
      return decoder.encoding === 'windows-1252' ? fromWindows1252(latin1) : decoder.decode(bytes, { stream })
    } catch {
      // Not that one.
    }
  }
  return fromWindows1252(latin1)
}

/** Not by TextDecoder: Node from 20.18.3 on takes windows-1252 for Latin-1, and `€` for a control character (nodejs/node#56542). */
function fromWindows1252(latin1: string): string {
  return latin1.replace(/[\x80-\x9f]/g, (character) => WINDOWS_1252[character.charCodeAt(0) - 0x80] ?? character)
}

function unescapeValue(value: string): string {
  return value.replace(/\|([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}
