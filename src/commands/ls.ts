import { sizeOf, storedSizeOf } from '../evidence/extents.ts'
import { printable } from '../evidence/printable.ts'
import { jsonLine } from '../output/json.ts'
import { writeLines } from '../output/standard-output.ts'
import { cleanPath, follow } from '../tree/follow.ts'
import { type Node, walk } from '../tree/node.ts'
import { type EvidenceArguments, openTree } from './evidence.ts'
import { type Selected, type Source, select } from './selection.ts'

/** What the command line of `vmssfs ls` says besides the evidence and the path. */
export interface ListArguments extends EvidenceArguments {
  readonly long?: boolean
  readonly recursive?: boolean
  readonly json?: boolean
}

/** A line of a listing: a node, where it is, and what the line calls it. */
interface Row extends Selected {
  readonly name: string
}

/** The first column of a long listing. */
const MODES: Record<Node['kind'], string> = { directory: 'dr-xr-xr-x', file: '-r--r--r--', link: 'lrwxrwxrwx' }

/**
 * Lists a folder of the tree, or whatever else the path means, as it is in the mount. In a folder that was named, entries
 * are called by their names; everywhere else by their paths, as the other commands take them.
 *
 * @throws EvidenceError, OutputError, UsageError
 */
export async function listTree(evidence: string, path: string, given: ListArguments): Promise<void> {
  const { root } = openTree(evidence, given)
  const rows = [...rowsOf({ root, evidence }, path, given)]
  if (given.json) {
    await writeLines(jsonLines(rows))
  } else {
    const shown = process.stdout.isTTY ? printable : (text: string) => text
    const sizes = rows.map(({ node }) => (given.long ? `${sizeOfNode(node)}` : ''))
    const width = sizes.reduce((most, size) => Math.max(most, size.length), 0)
    await writeLines(
      rows.map((row, index) =>
        given.long ? longLine(row, sizes[index]?.padStart(width) ?? '', shown) : shown(row.name),
      ),
    )
  }
}

function* rowsOf(source: Source, text: string, { long, recursive }: ListArguments): Generator<Row> {
  const path = cleanPath(text)
  // As in ls, a long listing of a link is about the link, unless a slash says that its folder is meant.
  const named = follow(source.root, path, !long || text.endsWith('/'))
  if (named?.kind !== 'directory') {
    for (const selected of select(source, path)) {
      yield { ...selected, name: selected.path }
      yield* recursive ? below(selected) : []
    }
  } else if (recursive) {
    yield* below({ path, node: named })
  } else {
    for (const [name, node] of named.entries) {
      yield { path: path === '' ? name : `${path}/${name}`, node, name }
    }
  }
}

function* below(selected: Selected): Generator<Row> {
  for (const [path, node] of walk(selected.node, selected.path)) {
    if (node !== selected.node) {
      yield { path, node, name: path }
    }
  }
}

function longLine({ node, name }: Row, size: string, shown: (text: string) => string): string {
  const time = `${node.mtime.toISOString().slice(0, 'YYYY-MM-DDThh:mm:ss'.length)}Z`
  return `${MODES[node.kind]} ${size} ${time} ${shown(node.kind === 'link' ? `${name} -> ${node.target}` : name)}`
}

/** A line for each, so that they can be searched too. */
function* jsonLines(rows: readonly Row[]): Generator<string> {
  yield '['
  for (const [index, { path, node }] of rows.entries()) {
    const { kind, inode } = node
    const target = node.kind === 'link' ? { target: node.target } : {}
    const stored = node.kind === 'file' ? storedSizeOf(node.extents) : 0
    const object = { path, kind, size: sizeOfNode(node), ...target, mtime: node.mtime.toISOString(), inode, stored }
    yield `  ${jsonLine(object)}${index < rows.length - 1 ? ',' : ''}`
  }
  yield ']'
}

/** As stat(2) has it. */
function sizeOfNode(node: Node): number {
  switch (node.kind) {
    case 'directory':
      return 0
    case 'file':
      return sizeOf(node.extents)
    case 'link':
      return Buffer.byteLength(node.target)
  }
}
