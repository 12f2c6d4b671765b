import { type Checkpoint, findTag } from '../checkpoint/parse.ts'
import { readText } from '../checkpoint/values.ts'

/** What wrote a checkpoint, in its own words. */
export interface Product {
  readonly name: string | undefined
  readonly version: string | undefined
  readonly build: string | undefined
}

/**
 * The product, its version and its build, as the group Checkpoint names them.
 *
 * @throws EvidenceError `unreadable`, `changed`
 */
export function readProduct(checkpoint: Checkpoint): Product {
  const text = (name: string) => {
    const tag = findTag(checkpoint, 'Checkpoint', name)
    return (tag && readText(checkpoint.file, tag)) || undefined
  }
  return { name: text('ProductName'), version: text('VersionNumber'), build: text('BuildNumber') }
}
