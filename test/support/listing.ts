/**
 * An assembler for files whose every byte is placed by hand, so that a fixture can be read beside the format notes.
 *
 * A line of a listing holds any number of these, separated by spaces:
 *
 *     # to the end of the line           a comment
 *     d2 be                              bytes, two hexadecimal digits each
 *     "memory\n\x00"                     the UTF-8 bytes of a text; escapes are \n \\ \" and \xNN (one raw byte)
 *     u8 E   u16 E   u32 E   u64 E       a number, little-endian
 *     text SIZE "name"                   a text, followed by NULs up to SIZE bytes
 *     fill COUNT BYTE                    COUNT times the same byte
 *     pages COUNT LETTER                 COUNT pages of 4096 bytes: the 8 bytes at offset o of page p are the letter, p as
 *                                        four and o as three hexadecimal digits, such as A0002ff8
 *     name:                              a label: the offset of what follows
 *     @E                                 go on at offset E, leaving a hole; never backwards
 *     =E                                 fails unless this is offset E
 *
 * An expression E is a sum of decimal numbers, 0x numbers and labels with + and - and no spaces, such as `end-start+2`.
 * A number may use labels that come later; whatever moves the offset (@, SIZE, COUNT) only those that came before.
 */
import { readFileSync } from 'node:fs'
import { type SparseData, writeSparse } from './checkpoint.ts'

const PAGE_SIZE = 4096
const WORD_SIZE = 8

/** The file that a listing describes; its pieces are ascending and apart. Throws an Error that names the line. */
export function assemble(listingText: string): SparseData {
  // Every chunk gets its place first; then all labels are known, and it can be asked for its bytes.
  const layout: Layout = { offset: 0, labels: new Map(), chunks: [] }
  for (const [index, lineText] of listingText.split('\n').entries()) {
    atLine(index + 1, () => layOut(lineText, index + 1, layout))
  }
  const runs: { offset: number; end: number; parts: Uint8Array[] }[] = []
  for (const { line, offset, make } of layout.chunks) {
    const bytes = atLine(line, make)
    const last = runs.at(-1)
    if (last?.end === offset) {
      last.parts.push(bytes)
      last.end += bytes.length
    } else if (bytes.length > 0) {
      runs.push({ offset, end: offset + bytes.length, parts: [bytes] })
    }
  }
  return { size: layout.offset, pieces: runs.map(({ offset, parts }) => ({ offset, bytes: Buffer.concat(parts) })) }
}

/** Assembles the listing in one file into another, which is replaced. Holes stay holes. Errors name file and line. */
export function writeListing(listingPath: string, outputPath: string): void {
  let data: SparseData
  try {
    data = assemble(readFileSync(listingPath, 'utf8'))
  } catch (error) {
    throw new Error(`${listingPath}, ${error instanceof Error ? error.message : error}`, { cause: error })
  }
  writeSparse(outputPath, data)
}

/** What has been read of a listing: the offset it is at, the labels so far, and the bytes that are to be made. */
interface Layout {
  offset: number
  labels: Map<string, bigint>
  chunks: { line: number; offset: number; make: () => Uint8Array }[]
}

function layOut(lineText: string, line: number, layout: Layout): void {
  const { labels, chunks } = layout
  const tokens = tokenize(lineText)
  const next = () => tokens.shift() ?? fail('something is missing at the end of the line')
  const add = (size: number, make: () => Uint8Array) => {
    chunks.push({ line, offset: layout.offset, make })
    layout.offset += size
  }
  while (tokens.length > 0) {
    const token = next()
    if (token.startsWith('"')) {
      const bytes = unquote(token)
      add(bytes.length, () => bytes)
    } else if (/^[0-9a-f]{2}$/i.test(token)) {
      add(1, () => Buffer.from(token, 'hex'))
    } else if (/^u(8|16|32|64)$/.test(token)) {
      const size = Number(token.slice(1)) / 8
      const expression = next()
      add(size, () => littleEndian(evaluate(expression, labels), size))
    } else if (token === 'text') {
      const size = count(next(), labels)
      const bytes = unquote(next())
      add(size, () =>
        bytes.length <= size ? Buffer.concat([bytes], size) : fail(`the text has ${bytes.length} bytes`),
      )
    } else if (token === 'fill') {
      const size = count(next(), labels)
      const byte = littleEndian(evaluate(next(), labels), 1)
      add(size, () => Buffer.alloc(size, byte))
    } else if (token === 'pages') {
      const pageCount = count(next(), labels)
      const letter = next()
      add(pageCount * PAGE_SIZE, () => pages(pageCount, letter))
    } else if (/^[a-z]\w*:$/i.test(token)) {
      const name = token.slice(0, -1)
      labels.set(name, labels.has(name) ? fail(`label ${name} is there already`) : BigInt(layout.offset))
    } else if (token.startsWith('@')) {
      const target = count(token.slice(1), labels)
      layout.offset = target >= layout.offset ? target : fail(`${token} is backwards, this is ${place(layout.offset)}`)
    } else if (token.startsWith('=')) {
      const { offset } = layout
      const holds = () => evaluate(token.slice(1), labels) === BigInt(offset)
      add(0, () => (holds() ? Buffer.alloc(0) : fail(`${token} fails, this is ${place(offset)}`)))
    } else {
      fail(`'${token}' is not part of the language`)
    }
  }
}

function atLine<T>(line: number, action: () => T): T {
  try {
    return action()
  } catch (error) {
    throw new Error(`line ${line}: ${error instanceof Error ? error.message : error}`, { cause: error })
  }
}

function tokenize(line: string): string[] {
  const tokens: string[] = []
  const token = /\s*(#.*|"(?:[^"\\]|\\.)*"|[^\s"#]+|$)/y
  while (token.lastIndex < line.length) {
    const found = token.exec(line)?.[1] ?? fail('a text does not end')
    if (found !== '' && !found.startsWith('#')) {
      tokens.push(found)
    }
  }
  return tokens
}

function unquote(token: string): Buffer {
  const inner = /^"(.*)"$/.exec(token)?.[1] ?? fail(`'${token}' is not a text in quotes`)
  const parts = inner.match(/\\x[0-9a-f]{2}|\\.|[^\\]+/gi) ?? []
  return Buffer.concat(
    parts.map((part) => {
      if (!part.startsWith('\\')) {
        return Buffer.from(part)
      }
      if (part.length === 4) {
        return Buffer.from(part.slice(2), 'hex')
      }
      const character = part === '\\n' ? '\n' : part === '\\\\' || part === '\\"' ? part.slice(1) : undefined
      return Buffer.from(character ?? fail(`${part} is not an escape`))
    }),
  )
}

function evaluate(expression: string, labels: ReadonlyMap<string, bigint>): bigint {
  if (!/^-?\w+([+-]\w+)*$/.test(expression)) {
    fail(`'${expression}' is not an expression`)
  }
  let sum = 0n
  for (const [, sign, term = ''] of expression.matchAll(/([+-]?)(\w+)/g)) {
    const value = /^\d/.test(term) ? BigInt(term) : (labels.get(term) ?? fail(`label ${term} is not known`))
    sum += sign === '-' ? -value : value
  }
  return sum
}

function littleEndian(value: bigint, size: number): Uint8Array {
  if (value !== BigInt.asUintN(size * 8, value)) {
    fail(`${value} does not fit in ${size} bytes`)
  }
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes.subarray(0, size)
}

function count(expression: string, labels: ReadonlyMap<string, bigint>): number {
  const value = Number(evaluate(expression, labels))
  return Number.isSafeInteger(value) && value >= 0 ? value : fail(`${expression} is ${value}`)
}

function pages(pageCount: number, letter: string): Uint8Array {
  if (!/^[a-z]$/i.test(letter) || pageCount > 0x10000) {
    fail('pages wants a count of at most 65536 and one letter')
  }
  const words = Array.from({ length: (pageCount * PAGE_SIZE) / WORD_SIZE }, (_, index) => {
    const page = Math.floor((index * WORD_SIZE) / PAGE_SIZE)
    const offset = (index * WORD_SIZE) % PAGE_SIZE
    return letter + page.toString(16).padStart(4, '0') + offset.toString(16).padStart(3, '0')
  })
  return Buffer.from(words.join(''))
}

function place(offset: number): string {
  return `${offset} (0x${offset.toString(16)})`
}

function fail(message: string): never {
  throw new Error(message)
}
