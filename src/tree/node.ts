import type { Extents } from '../evidence/extents.ts'

/** Something that a path in the mount leads to. */
export type Node = Directory | File | Link

export interface Directory {
  readonly kind: 'directory'
  readonly inode: number
  readonly mtime: Date
  /** In the order of the listing. */
  readonly entries: ReadonlyMap<string, Node>
}

export interface Link {
  readonly kind: 'link'
  readonly inode: number
  readonly mtime: Date
  /** Relative to the folder of the link. */
  readonly target: string
}

/** A file, whose table of extents is made when it is first asked for: most files of a mount are never looked at. */
export class File {
  readonly kind = 'file'
  readonly inode: number
  readonly mtime: Date
  readonly #plan: () => Extents
  #extents: Extents | undefined

  constructor(inode: number, mtime: Date, plan: () => Extents) {
    this.inode = inode
    this.mtime = mtime
    this.#plan = plan
  }

  get extents(): Extents {
    this.#extents ??= this.#plan()
    return this.#extents
  }
}

/** The node at a path of names separated by `/`; links are not followed. A leading `/` and empty parts change nothing. */
export function lookup(root: Directory, path: string): Node | undefined {
  let node: Node | undefined = root
  for (const name of path.split('/')) {
    if (name !== '') {
      node = node?.kind === 'directory' ? node.entries.get(name) : undefined
    }
  }
  return node
}

/** The node and all below it, each with its path from there, parents before their entries. */
export function* walk(node: Node, path = ''): Generator<[string, Node]> {
  yield [path, node]
  if (node.kind === 'directory') {
    for (const [name, entry] of node.entries) {
      yield* walk(entry, path === '' ? name : `${path}/${name}`)
    }
  }
}
