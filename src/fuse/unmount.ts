import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { MountError } from './errors.ts'
import { findMount } from './mount-table.ts'
import { contentsOf, entriesOf, processes, targetOf } from './processes.ts'
import { hasProgram, isRoot } from './programs.ts'

const run = promisify(execFile)

/**
 * Takes the mount at the path away; its daemon ends by itself.
 *
 * @throws MountError if something in it is still in use, or the system refuses; it is still mounted then.
 */
export async function unmount(mountpoint: string): Promise<void> {
  try {
    await takeAway(mountpoint, false)
  } catch (error) {
    const users = usersOf(mountpoint)
    if (users.length === 0) {
      throw new MountError(`${mountpoint}: ${(error as Error).message}`)
    }
    throw new MountError(`${mountpoint}: in use by ${users.join(', ')}`, 'close what they have open there, or end them')
  }
}

/** Takes the mount at the path out of sight at once, whoever uses it; it ends when they do. */
export async function detach(mountpoint: string): Promise<void> {
  try {
    await takeAway(mountpoint, true)
  } catch (error) {
    throw new MountError(`${mountpoint}: ${(error as Error).message}`)
  }
}

/** The program and its arguments that unmount for whoever we are; a mountpoint may have any byte in its name, so no shell. */
export function unmountCommand(mountpoint: string, lazily = false): [string, ...string[]] {
  if (isRoot()) {
    return ['umount', ...(lazily ? ['-l'] : []), mountpoint]
  }
  // fuse3 brings this one, and distributions mostly the other name too.
  const program = hasProgram('fusermount3') ? 'fusermount3' : 'fusermount'
  return [program, lazily ? '-uz' : '-u', mountpoint]
}

/** A program and its arguments as a shell takes them, for command lines that we propose. */
export function commandLine(words: readonly string[]): string {
  return words.map((word) => (/^[\w./+:@%-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ')
}

async function takeAway(mountpoint: string, lazily: boolean): Promise<void> {
  const [program, ...options] = unmountCommand(mountpoint, lazily)
  try {
    await run(program, options)
  } catch (error) {
    if ((await findMount(mountpoint)) === undefined) {
      return
    }
    const { stderr, message } = error as Error & { stderr?: string }
    throw new Error((stderr || message).trim().split('\n')[0])
  }
}

/** The processes that have something open in the mount or stand in it, as far as we may look: `1234 (bash)`. */
function usersOf(mountpoint: string): string[] {
  return processes()
    .filter((pid) => isUser(pid, mountpoint))
    .map((pid) => `${pid} (${contentsOf(`/proc/${pid}/comm`).trim()})`)
}

function isUser(pid: string, mountpoint: string): boolean {
  const inside = (path: string) => path === mountpoint || path.startsWith(`${mountpoint}/`)
  const links = ['cwd', 'root', 'exe', ...entriesOf(`/proc/${pid}/fd`).map((descriptor) => `fd/${descriptor}`)]
  return (
    links.some((link) => inside(targetOf(`/proc/${pid}/${link}`))) ||
    contentsOf(`/proc/${pid}/maps`).includes(` ${mountpoint}/`)
  )
}
