import { createHash } from 'node:crypto'
import { strayByte } from '../evidence/printable.ts'

/** The longest name that a directory entry can have, in bytes. */
export const NAME_MAX = 255

/** What nearly every name is like. */
const PLAIN = /^[\w.: -]+$/

/** Hexadecimal digits of the hash that ends a name which was cut. */
const HASH_DIGITS = 16

/**
 * A name from the evidence, with its indices, as a directory entry: itself, but `/`, control bytes, `%` and bytes that are not
 * UTF-8 as `%2F`; likewise `.` and `..`. An empty name is a single `%`, which no other becomes.
 */
export function entryName(name: string, indices: readonly number[] = []): string {
  const encoded = PLAIN.test(name) ? name : name.replace(/[\x00-\x1f\x7f/%]|[\u{dc80}-\u{dcff}]/gu, percent)
  const entry = encoded + indices.map((index) => `[${index}]`).join('')
  if (entry === '.' || entry === '..') {
    return entry.replaceAll('.', percent)
  }
  return entry === '' ? '%' : entry
}

/** Gives out names of one folder, each only once: the second of a name is `name~2`, the third `name~3`. */
export class UniqueNames {
  readonly #taken = new Set<string>()
  readonly #next = new Map<string, number>()

  take(name: string): string {
    let candidate = fit(name)
    let number = this.#next.get(name) ?? 2
    while (this.#taken.has(candidate)) {
      candidate = fit(`${name}~${number++}`)
    }
    this.#next.set(name, number)
    this.#taken.add(candidate)
    return candidate
  }
}

/** The name itself if a directory entry can hold it, otherwise its beginning, `~` and a hash of all of it. */
function fit(name: string): string {
  if (Buffer.byteLength(name) <= NAME_MAX) {
    return name
  }
  const hash = createHash('sha256').update(name).digest('hex').slice(0, HASH_DIGITS)
  let [beginning, size] = ['', 0]
  for (const character of name) {
    size += Buffer.byteLength(character)
    if (size > NAME_MAX - 1 - HASH_DIGITS) {
      break
    }
    beginning += character
  }
  return `${beginning}~${hash}`
}

function percent(character: string): string {
  const code = character.codePointAt(0) ?? 0
  return `%${(strayByte(code) ?? code).toString(16).toUpperCase().padStart(2, '0')}`
}
