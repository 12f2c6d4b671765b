import type { Directory, Node } from './node.ts'

/** How many links a path may lead through, as in Linux. */
const MAX_LINKS = 40

/**
 * The node that a path leads to through the links on its way, and through the one at its end if `last` says so. Like a shell
 * it takes `.` and `..` for the folder itself and the one above. Undefined if there is none.
 */
export function follow(root: Directory, path: string, last = true): Node | undefined {
  const above: Directory[] = [root]
  const left = partsOf(path).reverse()
  let links = 0
  for (let name = left.pop(); name !== undefined; name = left.pop()) {
    if (name === '..') {
      // Above the root is the root.
      above.length = Math.max(above.length - 1, 1)
      continue
    }
    const node = (above.at(-1) as Directory).entries.get(name)
    if (node?.kind === 'directory') {
      above.push(node)
    } else if (node?.kind === 'link' && (last || left.length > 0)) {
      if (++links > MAX_LINKS) {
        return undefined
      }
      left.push(...partsOf(node.target).reverse())
    } else {
      return left.length === 0 ? node : undefined
    }
  }
  return above.at(-1)
}

/** A path without the parts that lead nowhere: `/`, `//` and `.`; the root is the empty path. */
export function cleanPath(path: string): string {
  return partsOf(path).join('/')
}

function partsOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.')
}
