import picomatch from 'picomatch'
import { UsageError } from './errors.ts'

/** What else has a meaning in patterns, but stands for itself here: tags are full of `[0]`, and `{0..3}` would be a range. */
const LITERAL = /\\.|[[\]().!+@|^$"']/gs

/** How picomatch takes a character for itself; between braces it would take `\\.\\.` for a range all the same. */
const literal = (character: string) => (character === '.' ? '[.]' : `\\${character}`)

/** Whether a text is meant as a pattern. */
export function isGlob(text: string): boolean {
  return /[*?{]/.test(text)
}

/**
 * The test whether a path matches a pattern: `*` and `?` within a name, `**` over folders, `{a,b}` for either. All other
 * characters are themselves, brackets above all; a backslash makes the next one so.
 *
 * @throws UsageError if it is no pattern, or far too long.
 */
export function globMatcher(pattern: string): (path: string) => boolean {
  const escaped = pattern.replace(LITERAL, (found) => (found.length > 1 ? found : literal(found)))
  try {
    return picomatch(escaped, { dot: true, nonegate: true, noext: true, strictSlashes: true })
  } catch (error) {
    throw new UsageError(`expected a pattern, found one that is not: ${(error as Error).message}`)
  }
}
