import type { Checkpoint, Group, Tag } from '../checkpoint/parse.ts'
import { EvidenceError, hex } from '../evidence/errors.ts'
import type { EvidenceFile } from '../evidence/file.ts'
import { printable } from '../evidence/printable.ts'
import type { Memory } from '../guest/memory.ts'
import { csvLine, csvText } from '../output/csv.ts'
import { hexdump } from '../output/hexdump.ts'
import { jsonObjectLines } from '../output/json.ts'
import { writeLines } from '../output/standard-output.ts'
import { entryName } from '../tree/names.ts'
import { planRaw } from '../views/raw.ts'
import { UsageError } from './errors.ts'
import { type EvidenceArguments, openGuest } from './evidence.ts'
import { globMatcher } from './glob.ts'
import { shownValue } from './tag-value.ts'

/** What the command line of `vmssfs tags` says besides the evidence and the patterns. */
export interface TagArguments extends EvidenceArguments {
  readonly hexdump?: boolean
  /** How many bytes of each tag are dumped at most, in digits. */
  readonly limit?: string
  readonly json?: boolean
  readonly csv?: boolean
}

interface Row {
  readonly group: Group
  readonly tag: Tag
  /** `group/tag[indices]`, each part as the mount calls it, but for the `~2` of the second of two. */
  readonly path: string
}

/** Memory that is there: the bytes `[offset, offset + size)` of its file, which the guest had at `address`. */
interface Run {
  readonly offset: number
  readonly address: number
  readonly size: number
}

/** Width of the column with the paths; a longer one moves what follows it. */
const PATH_WIDTH = 50

/** Before a line that tells about the tag above it. */
const INDENT = '  '

/** Tags of at most so many bytes show all they have in their line, unless they are blocks. */
const NUMBER_SIZE = 8

/**
 * Lists the tags that match one of the patterns, or all of them, in the order of the group table.
 *
 * @throws EvidenceError `absent` if there is no checkpoint, or a pattern matches nothing; OutputError, UsageError
 */
export async function listTags(evidence: string, patterns: readonly string[], given: TagArguments): Promise<void> {
  const formats = (['hexdump', 'json', 'csv'] as const).filter((format) => given[format])
  if (formats.length > 1) {
    throw new UsageError(`expected one of ${formats.map((format) => `--${format}`).join(' and ')}, found both`)
  }
  const limit = limitOf(given)
  const { checkpoint, memory } = openGuest(evidence, given)
  if (checkpoint === undefined) {
    throw new EvidenceError({ code: 'absent', file: evidence, expected: 'a checkpoint', found: 'memory alone' })
  }
  const rows = selectRows(checkpoint, patterns, evidence)
  if (given.json) {
    await writeLines(jsonLines(checkpoint, memory, rows))
  } else if (given.csv) {
    await writeLines(csvLines(checkpoint.file, rows))
  } else {
    await writeLines(headLines(checkpoint, memory))
    await writeLines(tableLines(checkpoint.file, rows, given.hexdump ? limit : undefined))
  }
}

function limitOf({ limit, hexdump }: TagArguments): number {
  if (limit === undefined) {
    return Number.POSITIVE_INFINITY
  }
  if (!/^\d{1,15}$/.test(limit)) {
    throw new UsageError(`--limit: expected a number of bytes, found "${limit}"`)
  }
  if (!hexdump) {
    throw new UsageError('--limit: expected --hexdump with it')
  }
  return Number(limit)
}

function selectRows(checkpoint: Checkpoint, patterns: readonly string[], evidence: string): Iterable<Row> {
  if (patterns.length === 0) {
    return rowsOf(checkpoint)
  }
  const matchers = patterns.map((pattern) => ({ pattern, isMatch: globMatcher(pattern), matched: false }))
  const selected: Row[] = []
  for (const row of rowsOf(checkpoint)) {
    const matching = matchers.filter(({ isMatch }) => isMatch(row.path))
    for (const matcher of matching) {
      matcher.matched = true
    }
    if (matching.length > 0) {
      selected.push(row)
    }
  }
  const idle = matchers.find(({ matched }) => !matched)
  if (idle !== undefined) {
    throw new EvidenceError({
      code: 'absent',
      file: evidence,
      expected: `a tag that matches ${idle.pattern}`,
      found: 'none',
      hint: "a pattern for group/tag[indices], such as 'cpu/*'",
    })
  }
  return selected
}

function* rowsOf(checkpoint: Checkpoint): Generator<Row> {
  for (const group of checkpoint.groups) {
    const folder = entryName(group.name)
    for (const tag of group.tags) {
      yield { group, tag, path: `${folder}/${entryName(tag.name, tag.indices)}` }
    }
  }
}

function* runsOf(memory: Memory | undefined): Generator<Run> {
  for (const extent of memory === undefined ? [] : planRaw(memory)) {
    if (extent.kind === 'file') {
      yield { offset: extent.offset, address: extent.start, size: extent.end - extent.start }
    }
  }
}

function* headLines({ magic, state, version, groups }: Checkpoint, memory: Memory | undefined): Generator<string> {
  yield `Magic: ${hex(magic)} (${state})`
  yield `Version: ${version}`
  yield `Group count: ${groups.length}`
  yield ''
  if (memory === undefined) {
    yield 'No memory runs'
  } else {
    const titles = ['File Offset', 'PhysMem Offset', 'Size']
    const digits = digitsOf(Math.max(memory.image.file.size, ...lastAddress(memory)))
    const columns = [...titles.map((title) => title.length), digits + 2]
    const width = Math.max(...columns)
    yield `Memory runs in ${printable(memory.image.file.name)}`
    yield titles
      .map((title) => title.padEnd(width))
      .join(' ')
      .trimEnd()
    yield titles.map(() => '-'.repeat(width)).join(' ')
    for (const run of runsOf(memory)) {
      yield [run.offset, run.address, run.size]
        .map((value) => padded(value, digits).padEnd(width))
        .join(' ')
        .trimEnd()
    }
  }
  yield ''
}

function lastAddress({ regions }: Memory): number[] {
  return regions.slice(-1).map(({ address, size }) => address + size)
}

/** Dumps at most `limit` bytes of each tag, where there is one. Some items are many lines. */
function* tableLines(file: EvidenceFile, rows: Iterable<Row>, limit: number | undefined): Generator<string> {
  const digits = digitsOf(file.size)
  const width = digits + 2
  yield `${'DataOffset'.padEnd(width)} ${'DataSize'.padStart(width)} ${'Name'.padEnd(PATH_WIDTH)} Value`
  yield `${'-'.repeat(width)} ${'-'.repeat(width)} ${'-'.repeat(PATH_WIDTH)} -----`
  for (const { tag, path } of rows) {
    const left = `${padded(tag.offset, digits)} ${hex(tag.size).padStart(width)} ${printable(path)}`
    const right = valueText(file, tag)
    yield right === '' ? left : `${left.padEnd(2 * width + 2 + PATH_WIDTH)} ${right}`
    if (limit !== undefined && (tag.size > NUMBER_SIZE || tag.kind !== 'inline')) {
      yield* dumpLines(file, tag, limit)
    }
  }
}

function* dumpLines(file: EvidenceFile, tag: Tag, limit: number): Generator<string> {
  const size = Math.min(tag.size, limit)
  yield* hexdump(file, tag.offset, size, INDENT)
  if (size < tag.size) {
    yield `${INDENT}${tag.size - size} more bytes`
  }
}

function jsonLines(checkpoint: Checkpoint, memory: Memory | undefined, rows: Iterable<Row>): Generator<string> {
  const { file, magic, state, version, groups } = checkpoint
  return jsonObjectLines({
    magic: hex(magic),
    state,
    version,
    groups: groups.length,
    runs: runObjects(memory),
    tags: tagObjects(file, rows),
  })
}

function* runObjects(memory: Memory | undefined): Generator<object> {
  for (const { offset, address, size } of runsOf(memory)) {
    yield { offset, address: hex(address), size }
  }
}

function* tagObjects(file: EvidenceFile, rows: Iterable<Row>): Generator<object> {
  for (const { group, tag } of rows) {
    const { name, indices, kind, offset, size } = tag
    yield { group: group.name, name, indices, kind, offset, size, ...shownValue(file, tag) }
  }
}

function* csvLines(file: EvidenceFile, rows: Iterable<Row>): Generator<string> {
  yield csvLine(['offset', 'size', 'group', 'tag', 'indices', 'kind', 'value'])
  for (const { group, tag } of rows) {
    const indices = tag.indices.map((index) => `[${index}]`).join('')
    const cells = [csvText(group.name), csvText(tag.name), indices, tag.kind, csvText(valueText(file, tag))]
    yield csvLine([tag.offset, tag.size, ...cells])
  }
}

/** Bytes stand apart, so that no spreadsheet takes them for a number. */
function valueText(file: EvidenceFile, tag: Tag): string {
  const { value, bytes = '' } = shownValue(file, tag)
  return value ?? bytes.replace(/..(?=.)/g, '$& ')
}

/** How many digits an offset in so many bytes has in a table: 8, or 16 where some offset needs more than 8. */
function digitsOf(size: number): number {
  return size > 0x1_0000_0000 ? 16 : 8
}

function padded(value: number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0')}`
}
