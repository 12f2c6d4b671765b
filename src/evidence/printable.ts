/**
 * Text from evidence, made safe for a terminal: control characters, direction overrides and bytes that were not UTF-8
 * appear as `\xNN` or `\u{N}` instead of acting.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0
    const byte = strayByte(code) ?? code
    return byte < 0x100 ? `\\x${byte.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
  })
}

/**
 * A name from evidence as a string that loses nothing: UTF-8 where all of it is valid, otherwise each byte from 0x80 on
 * becomes the lone surrogate U+DC00 + byte, which no valid UTF-8 decodes to (the convention of Python's surrogateescape).
 */
export function decodeName(bytes: Uint8Array): string {
  const latin1 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  if (!/[\x80-\xff]/.test(latin1)) {
    return latin1
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return latin1.replace(/[\x80-\xff]/g, (character) => String.fromCharCode(0xdc00 + character.charCodeAt(0)))
  }
}

/** The byte that a lone surrogate of {@link decodeName} stands for, or undefined for any other code point. */
export function strayByte(codePoint: number): number | undefined {
  return codePoint >= 0xdc80 && codePoint <= 0xdcff ? codePoint - 0xdc00 : undefined
}
