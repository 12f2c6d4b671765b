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

/** Where the bytes of a value lie in the evidence, and how they are kept there. */
export interface Origin {
  /** Of its first byte. */
  readonly offset: number
  /** In bytes, as it lies there. */
  readonly size: number
  readonly kind: string
}

/**
 * A file, whose table of extents is made when it is asked for: most files of a mount are never looked at. That of a single
 * value is made each time, for it is small, and there are a great many; any other is kept.
 */
export class File {
  readonly kind = 'file'
  readonly inode: number
  readonly mtime: Date
  /** The value that it shows, if it shows just one. */
  readonly origin: Origin | undefined
  readonly #plan: () => Extents
  #extents: Extents | undefined

  constructor(inode: number, mtime: Date, plan: () => Extents, origin?: Origin) {
    this.inode = inode
    this.mtime = mtime
    this.origin = origin
    this.#plan = plan
  }

  get extents(): Extents {
    if (this.origin !== undefined) {
      return this.#plan()
    }
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
