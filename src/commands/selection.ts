import { EvidenceError } from '../evidence/errors.ts'
import { commandLine } from '../fuse/unmount.ts'
import { cleanPath, follow } from '../tree/follow.ts'
import { type Directory, type File, type Node, walk } from '../tree/node.ts'
import { globMatcher, isGlob } from './glob.ts'

/** A path in the tree, without needless slashes, and what is there; a link at its end is not followed. */
export interface Selected {
  readonly path: string
  readonly node: Node
}

/** A path that leads to a file, through whatever links. */
export interface SelectedFile {
  readonly path: string
  readonly file: File
}

/** A tree, and the path of the evidence that it is made of, for messages. */
export interface Source {
  readonly root: Directory
  readonly evidence: string
}

/**
 * What a path on the command line means: the path itself if it exists, and otherwise, if it is a pattern, all that match, in
 * the order of the tree.
 *
 * @throws EvidenceError `absent` if there is nothing.
 */
export function select(source: Source, text: string): Selected[] {
  const path = cleanPath(text)
  const node = follow(source.root, path, false)
  if (node !== undefined) {
    return [{ path, node }]
  }
  const selected = isGlob(path) ? [...matches(source.root, path)] : []
  if (selected.length === 0) {
    throw absent(source, path)
  }
  return selected
}

/**
 * The files that paths and patterns on the command line mean. A folder is an error where it was named, and passed over
 * where a pattern matches it.
 *
 * @throws EvidenceError `absent`
 */
export function selectFiles(source: Source, texts: readonly string[]): SelectedFile[] {
  return texts.flatMap((text) => {
    const selected = select(source, text)
    const files = selected.filter(({ path }) => follow(source.root, path)?.kind === 'file')
    return (files.length > 0 ? files : selected.slice(0, 1)).map(({ path }) => ({ path, file: fileAt(source, path) }))
  })
}

/**
 * The same with folders, which mean all files below them; links below them are not followed. Each path comes once.
 *
 * @throws EvidenceError `absent`
 */
export function selectFilesBelow(source: Source, texts: readonly string[]): SelectedFile[] {
  const files = new Map<string, File>()
  for (const { path } of texts.flatMap((text) => select(source, text))) {
    for (const [below, node] of walk(followed(source, path), path)) {
      if (node.kind === 'file') {
        files.set(below, node)
      }
    }
  }
  return [...files].map(([path, file]) => ({ path, file }))
}

/**
 * What a path leads to, through links.
 *
 * @throws EvidenceError `absent`
 */
export function followed(source: Source, path: string): Node {
  const node = follow(source.root, path)
  if (node === undefined) {
    throw absent(source, path)
  }
  return node
}

/**
 * The file that a path leads to, through links.
 *
 * @throws EvidenceError `absent`, also if there is something else.
 */
export function fileAt(source: Source, path: string): File {
  const node = followed(source, path)
  if (node.kind === 'file') {
    return node
  }
  throw new EvidenceError({
    code: 'absent',
    file: source.evidence,
    expected: `a file at ${path || '/'}`,
    found: 'a directory',
    hint: listing(source, path),
  })
}

/** What to try where a path is not what was expected: the listing of a folder. */
function listing({ evidence }: Source, folder: string): string {
  return commandLine(['vmssfs', 'ls', evidence, ...(folder === '' ? [] : [folder])])
}

function absent(source: Source, path: string): EvidenceError {
  let parent = path
  do {
    parent = parent.slice(0, Math.max(parent.lastIndexOf('/'), 0))
  } while (parent !== '' && follow(source.root, parent)?.kind !== 'directory')
  return new EvidenceError({
    code: 'absent',
    file: source.evidence,
    expected: isGlob(path) ? `a path that is or matches ${path}` : `the path ${path}`,
    found: 'no such path',
    hint: listing(source, parent),
  })
}

/** As a shell does, a pattern goes through a link to a folder, unless it has `**`. */
function* matches(root: Directory, pattern: string): Generator<Selected> {
  const isMatch = globMatcher(pattern)
  for (const selected of candidates(root, root, '', !pattern.includes('**'))) {
    if (isMatch(selected.path)) {
      yield selected
    }
  }
}

/** All below a folder. Behind a link no other is gone through, for they could lead in a circle. */
function* candidates(root: Directory, folder: Directory, prefix: string, throughLinks: boolean): Generator<Selected> {
  for (const [name, node] of folder.entries) {
    const path = prefix + name
    yield { path, node }
    const inner = node.kind === 'link' && throughLinks ? follow(root, path) : node
    if (inner?.kind === 'directory') {
      yield* candidates(root, inner, `${path}/`, throughLinks && inner === node)
    }
  }
}
