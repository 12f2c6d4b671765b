import type { Algorithm } from '../output/digests.ts'
import { UsageError } from './errors.ts'

/** A digest that a file should have. */
export interface Sum {
  readonly algorithm: Algorithm
  /** In lower-case hexadecimal. */
  readonly digest: string
  readonly path: string
}

/** What a backslash and a letter stand for in a name, where the line begins with a backslash. */
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\\', '\\'],
  ['n', '\n'],
  ['r', '\r'],
])

/** Which algorithm makes digests of so many hexadecimal digits. */
const ALGORITHMS: ReadonlyMap<number, Algorithm> = new Map([
  [32, 'md5'],
  [40, 'sha1'],
  [64, 'sha256'],
])

/** The line that md5sum and its like print and read. */
export function sumLine(digest: string, path: string): string {
  const name = sumName(path)
  return `${name === path ? '' : '\\'}${digest}  ${name}`
}

/** A name as such a line has it. */
export function sumName(path: string): string {
  return path.replace(/[\\\n\r]/g, (character) => {
    const letter = [...ESCAPES].find(([, meant]) => meant === character)?.[0]
    return `\\${letter}`
  })
}

/**
 * Reads such lines, of any of the algorithms.
 *
 * @throws UsageError at a line that is something else, or if there are none.
 */
export function parseSums(text: string, file: string): Sum[] {
  const lines = text.split('\n')
  if (lines.at(-1) === '') {
    lines.pop()
  }
  if (lines.length === 0) {
    throw new UsageError(`${file}: expected lines with a digest and a path, found none`)
  }
  return lines.map((line, index) => {
    const sum = parseSum(line.replace(/\r$/, ''))
    if (sum === undefined) {
      const found = line.length > SHOWN ? `${line.slice(0, SHOWN)}...` : line
      throw new UsageError(`${file}, line ${index + 1}: expected a digest and a path, found "${found}"`)
    }
    return sum
  })
}

/** How much of a wrong line is shown. */
const SHOWN = 80

function parseSum(line: string): Sum | undefined {
  const [, escaped, digest = '', name = ''] = /^(\\?)([0-9a-f]+) [ *](.+)$/i.exec(line) ?? []
  const algorithm = ALGORITHMS.get(digest.length)
  if (algorithm === undefined) {
    return undefined
  }
  const path = escaped ? name.replace(/\\(.)/g, (whole, letter) => ESCAPES.get(letter) ?? whole) : name
  return { algorithm, digest: digest.toLowerCase(), path }
}
