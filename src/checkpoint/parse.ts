import { EvidenceError, hex } from '../evidence/errors.ts'
import type { EvidenceFile } from '../evidence/file.ts'
import { decodeName } from '../evidence/printable.ts'
import { traceOf } from '../evidence/trace.ts'
import { Window } from '../evidence/window.ts'
import { ENCRYPTED_MAGIC, encrypted } from './encrypted.ts'
import {
  BLOCK,
  BLOCK_32,
  COMPRESSED_BLOCK,
  decodeTagWord,
  GROUP,
  GROUP_32,
  HEADER,
  INDEX_SIZE,
  type Layout,
  MAGICS,
  type Magic,
  PLAIN_BLOCK,
  TERMINATOR,
  WORD_SIZE,
} from './layout.ts'

const trace = traceOf('vmssfs:checkpoint')

/** Bounds on what a hostile file makes us do. Genuine files have about 100 groups and 10,000 tags. */
const MAX_GROUPS = 65_536
const MAX_TAGS = 1_048_576

/** A tag and where its data lies: the bytes `[offset, offset + size)` of the checkpoint. */
export type Tag = {
  /** As {@link decodeName} gives it. */
  readonly name: string
  readonly indices: readonly number[]
  readonly offset: number
  /** Size of the data in the file, in bytes. */
  readonly size: number
} & (
  | { readonly kind: 'inline'; readonly bytes: Uint8Array }
  | { readonly kind: 'plain' }
  | { readonly kind: 'compressed'; readonly sizeInMemory: number }
)

export interface Group {
  readonly name: string
  /** Offset of the first tag. */
  readonly position: number
  /** Size of all its tags and their terminator in bytes, as the group table has it. */
  readonly size: number
  /** In the order of the file; those before the damage, if the group is damaged. */
  readonly tags: readonly Tag[]
}

/** What the group table says of a group. */
type GroupEntry = Omit<Group, 'tags'>

export interface Checkpoint {
  readonly file: EvidenceFile
  readonly magic: number
  readonly state: string
  readonly version: number
  /** In the order of the group table. */
  readonly groups: readonly Group[]
  /** What is wrong with the file and did not stop us. */
  readonly problems: readonly EvidenceError[]
}

/**
 * Reads the group table and every tag's header; the contents of blocks are never read. Damage inside a group ends that
 * group, and stands in `problems`.
 *
 * @throws EvidenceError `not-a-checkpoint`, `encrypted`, `damaged` (the group table), `unsupported`, `unreadable`.
 */
export function parseCheckpoint(file: EvidenceFile): Checkpoint {
  const window = new Window(file)
  const { magic, version, numgroups, meaning } = parseHeader(window)
  const layout = layoutOf(window, meaning, numgroups)
  const problems: EvidenceError[] = []
  if (meaning.remark !== undefined) {
    problems.push(
      damaged(file, 0, 'the magic of a normal checkpoint', `${hex(magic)} (${meaning.state}): ${meaning.remark}`),
    )
  }
  const walk = new Walk(window, layout, problems)
  const groups = parseGroupTable(window, layout, numgroups, problems).map((entry) => ({
    ...entry,
    tags: walk.tagsOf(entry),
  }))
  trace('%s: %d groups, %d tags, %d problems', file.path, groups.length, walk.count, problems.length)
  return { file, magic, state: meaning.state, version, groups, problems }
}

/** The first tag of that name and those indices, in the first group of that name that has one. */
export function findTag(checkpoint: Checkpoint, group: string, name: string, ...indices: number[]): Tag | undefined {
  for (const tag of tagsNamed(checkpoint, group, name)) {
    if (tag.indices.length === indices.length && tag.indices.every((index, depth) => index === indices[depth])) {
      return tag
    }
  }
  return undefined
}

/** Every tag of that name in the groups of that name, whatever its indices. */
export function* tagsNamed(checkpoint: Checkpoint, group: string, name: string): Generator<Tag> {
  for (const { tags } of checkpoint.groups.filter((candidate) => candidate.name === group)) {
    for (const tag of tags) {
      if (tag.name === name) {
        yield tag
      }
    }
  }
}

function parseHeader(window: Window): { magic: number; version: number; numgroups: number; meaning: Magic } {
  const { file } = window
  const refused = (expected: string, found: string) =>
    new EvidenceError({
      code: 'not-a-checkpoint',
      file: file.path,
      offset: 0,
      expected,
      found,
      hint: 'give a .vmss or .vmsn file of a VMware machine',
    })
  if (file.size < HEADER.size) {
    throw refused(`the ${HEADER.size}-byte header of a VMware checkpoint`, `${file.size} bytes in all`)
  }
  const header = HEADER.decode(window, 0)
  if (header.magic === ENCRYPTED_MAGIC) {
    throw encrypted(file, 'a checkpoint in the clear')
  }
  const meaning = MAGICS.get(header.magic)
  if (meaning === undefined) {
    throw refused(`the magic of a VMware checkpoint (${[...MAGICS.keys()].map(hex).join(', ')})`, hex(header.magic))
  }
  return { ...header, meaning }
}

/** Which records the checkpoint uses. A 32-bit one is asked where its first group begins: right behind the group table. */
function layoutOf(window: Window, meaning: Magic, numgroups: number): Layout {
  if (!meaning.old) {
    return { group: GROUP, block: BLOCK }
  }
  for (const group of [GROUP, GROUP_32]) {
    const end = HEADER.size + numgroups * group.size
    if (numgroups === 0 || (end <= window.file.size && startsAt(window, group, end))) {
      return { group, block: BLOCK_32 }
    }
  }
  throw new EvidenceError({
    code: 'unsupported',
    file: window.file.path,
    offset: HEADER.size,
    expected: `a first group right behind ${numgroups} group records of ${GROUP.size} or ${GROUP_32.size} bytes`,
    found: 'one that begins elsewhere',
  })
}

function startsAt(window: Window, group: Layout['group'], position: number): boolean {
  try {
    return group.decode(window, HEADER.size).position === position
  } catch (error) {
    if (error instanceof EvidenceError && error.code === 'damaged') {
      return false
    }
    throw error
  }
}

function parseGroupTable(window: Window, layout: Layout, numgroups: number, problems: EvidenceError[]): GroupEntry[] {
  const { file } = window
  const end = HEADER.size + numgroups * layout.group.size
  if (end > file.size) {
    throw damaged(
      file,
      8,
      `a table of ${numgroups} groups inside the file's ${file.size} bytes`,
      `one that ends at ${end}`,
    )
  }
  if (numgroups > MAX_GROUPS) {
    throw damaged(file, 8, `at most ${MAX_GROUPS} groups`, `${numgroups}`)
  }
  const entries: GroupEntry[] = []
  for (let offset = HEADER.size; offset < end; offset += layout.group.size) {
    collect(problems, () => {
      const { name, position, size } = layout.group.decode(window, offset)
      entries.push({ name: decodeName(name), position, size })
    })
  }
  return entries
}

/** Does the work, or as much of it as the evidence allows: what is wrong with that becomes a problem. */
function collect(problems: EvidenceError[], work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof EvidenceError)) {
      throw error
    }
    problems.push(error)
  }
}

/** Goes through the tags of one group after the other. */
class Walk {
  /** Tags seen so far, in all groups. */
  count = 0
  readonly #window: Window
  readonly #layout: Layout
  readonly #problems: EvidenceError[]

  constructor(window: Window, layout: Layout, problems: EvidenceError[]) {
    this.#window = window
    this.#layout = layout
    this.#problems = problems
  }

  tagsOf(group: GroupEntry): Tag[] {
    const tags: Tag[] = []
    collect(this.#problems, () => this.#walk(group, tags))
    this.count += tags.length
    return tags
  }

  #walk(group: GroupEntry, tags: Tag[]): void {
    const { file } = this.#window
    // A size of 0 says nothing; the terminator decides then.
    const groupEnd = group.size === 0 ? Number.POSITIVE_INFINITY : group.position + group.size
    const end = Math.min(groupEnd, file.size)
    if (group.position > file.size) {
      const expected = `a group inside the file's ${file.size} bytes`
      throw truncated(file, group.position, expected, `"${group.name}" at ${hex(group.position)}`)
    }
    let offset = group.position
    for (;;) {
      if (offset + WORD_SIZE > end) {
        throw damaged(file, offset, `the terminator 00 00 of the group "${group.name}"`, `its end at ${hex(end)}`)
      }
      const word = this.#window.bytes(offset, WORD_SIZE).readUInt16LE()
      if (word === TERMINATOR) {
        break
      }
      if (this.count + tags.length >= MAX_TAGS) {
        throw damaged(file, offset, `at most ${MAX_TAGS} tags`, `more in the group "${group.name}"`)
      }
      const tag = this.#tag(offset, word, end, group)
      const tagEnd = tag.offset + tag.size
      if (tagEnd > groupEnd) {
        throw overrun(file, offset, group, `"${tag.name}"`, tagEnd, groupEnd)
      }
      tags.push(tag)
      if (tagEnd > file.size) {
        throw truncated(
          file,
          tag.offset,
          `${tag.size} bytes of "${group.name}/${tag.name}"`,
          `${Math.max(file.size - tag.offset, 0)} before the end of the file`,
        )
      }
      offset = tagEnd
    }
    const unread = groupEnd - (offset + WORD_SIZE)
    if (Number.isFinite(unread) && unread > 0) {
      const found = `${unread} bytes behind its terminator`
      this.#problems.push(damaged(file, offset + WORD_SIZE, `the end of the group "${group.name}"`, found))
    }
  }

  /** The tag whose word stands at `offset`; its header, with an inline value, ends by `end`. */
  #tag(offset: number, word: number, end: number, group: GroupEntry): Tag {
    const { file } = this.#window
    const { valsize, nindx, namelen } = decodeTagWord(word)
    if (namelen === 0) {
      throw damaged(
        file,
        offset,
        `a tag with a name in the group "${group.name}"`,
        `the word ${hex(word)}, a name of 0 bytes`,
      )
    }
    const block = valsize === PLAIN_BLOCK || valsize === COMPRESSED_BLOCK ? this.#layout.block : undefined
    const nameAndIndices = namelen + nindx * INDEX_SIZE
    const valueOffset = offset + WORD_SIZE + nameAndIndices
    const headerEnd = valueOffset + (block?.size ?? valsize)
    if (headerEnd > end) {
      throw overrun(file, offset, group, 'one', headerEnd, end)
    }
    const bytes = this.#window.bytes(offset + WORD_SIZE, nameAndIndices)
    const name = decodeName(bytes.subarray(0, namelen))
    const indices = Array.from({ length: nindx }, (_, depth) => bytes.readUInt32LE(namelen + depth * INDEX_SIZE))
    if (block === undefined) {
      // A copy: the window moves on.
      const value = Buffer.from(this.#window.bytes(valueOffset, valsize))
      return { kind: 'inline', name, indices, offset: valueOffset, size: valsize, bytes: value }
    }
    const { nbytes, nbytesinmem, padsize } = block.decode(this.#window, valueOffset)
    const data = { name, indices, offset: headerEnd + padsize, size: nbytes }
    if (valsize === COMPRESSED_BLOCK) {
      return { kind: 'compressed', ...data, sizeInMemory: nbytesinmem }
    }
    if (nbytes !== nbytesinmem) {
      const found = `${nbytes} in the file and ${nbytesinmem} in memory`
      this.#problems.push(damaged(file, valueOffset, `equal sizes of the plain block "${group.name}/${name}"`, found))
    }
    return { kind: 'plain', ...data }
  }
}

function damaged(file: EvidenceFile, offset: number, expected: string, found: string): EvidenceError {
  return new EvidenceError({ code: 'damaged', file: file.path, offset, expected, found })
}

function truncated(file: EvidenceFile, offset: number, expected: string, found: string): EvidenceError {
  return new EvidenceError({ code: 'truncated', file: file.path, offset, expected, found })
}

function overrun(
  file: EvidenceFile,
  offset: number,
  group: GroupEntry,
  tag: string,
  tagEnd: number,
  end: number,
): EvidenceError {
  const boundary = end === file.size ? 'file' : `group "${group.name}"`
  return damaged(
    file,
    offset,
    `a tag that ends inside the ${boundary}, by ${hex(end)}`,
    `${tag} that ends at ${hex(tagEnd)}`,
  )
}
