import { readFile } from 'node:fs/promises'

/** How our mounts are called in the mount table. */
export const SUBTYPE = 'vmssfs'
const FILESYSTEM_TYPE = `fuse.${SUBTYPE}`

/** A line of /proc/self/mountinfo (proc(5)). */
export interface MountEntry {
  /** Unique among the mounts that exist at the same time. */
  readonly id: string
  /** Its device number, `major:minor`. */
  readonly device: string
  readonly mountpoint: string
  readonly type: string
  readonly ours: boolean
}

/** The mount that one sees at a path, which must be absolute and free of links; undefined if there is none. */
export async function findMount(path: string): Promise<MountEntry | undefined> {
  return (await readMounts()).findLast((entry) => entry.mountpoint === path)
}

/** The mount of that number; undefined if it is not there any more. */
export async function findMountById(id: string): Promise<MountEntry | undefined> {
  return (await readMounts()).find((entry) => entry.id === id)
}

async function readMounts(): Promise<MountEntry[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')
  return lines.filter((line) => line !== '').map(parseEntry)
}

function parseEntry(line: string): MountEntry {
  const fields = line.split(' ')
  const [id = '', , device = '', , mountpoint = ''] = fields
  // Optional fields end in a lone hyphen.
  const type = fields[fields.indexOf('-', 6) + 1] ?? ''
  return { id, device, mountpoint: decodeOctal(mountpoint), type, ours: type === FILESYSTEM_TYPE }
}

/** Blanks, tabs, newlines and backslashes are written as `\040`, in octal. */
function decodeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
