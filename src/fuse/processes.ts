/** What /proc says of processes. One may end, or be somebody else's, while we look: of that there is nothing to see. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** The numbers of all processes. */
export function processes(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
}

/** The names in a folder. */
export function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** Where a link leads; nowhere if it cannot be read. */
export function targetOf(link: string): string {
  try {
    return readlinkSync(link)
  } catch {
    return ''
  }
}

/** What is in a file, as text. */
export function contentsOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
