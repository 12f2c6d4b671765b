import type { MountOptions } from '../fuse/mount.ts'
import { UsageError } from './errors.ts'

/** What each option makes of its value, which is undefined for one without `=`. */
const OPTIONS: Record<string, (value: string | undefined) => Partial<MountOptions>> = {
  // Always on, but scripts and habit say so.
  ro: (value) => flag('ro', value, {}),
  allow_other: (value) => flag('allow_other', value, { allowOther: true }),
  allow_root: (value) => flag('allow_root', value, { allowRoot: true }),
  default_permissions: (value) => flag('default_permissions', value, { defaultPermissions: true }),
  uid: (value) => ({ uid: number('uid', value, 10, 0xffff_fffe) }),
  gid: (value) => ({ gid: number('gid', value, 10, 0xffff_fffe) }),
  umask: (value) => ({ umask: number('umask', value, 8, 0o777) }),
  fsname: (value) => ({ fsname: name('fsname', value) }),
}

/**
 * The comma-separated lists behind every -o; of two that contradict each other the later one holds.
 *
 * @throws UsageError for an option that is unknown, or has a value that it cannot have.
 */
export function parseMountOptions(lists: readonly string[]): Partial<MountOptions> {
  let options: Partial<MountOptions> = {}
  for (const text of lists.flatMap((list) => list.split(',')).filter((part) => part !== '')) {
    const equals = text.indexOf('=')
    const key = equals === -1 ? text : text.slice(0, equals)
    const parse = Object.hasOwn(OPTIONS, key) ? OPTIONS[key] : undefined
    if (parse === undefined) {
      throw new UsageError(`-o ${text}: expected one of ${Object.keys(OPTIONS).join(', ')}`)
    }
    options = { ...options, ...parse(equals === -1 ? undefined : text.slice(equals + 1)) }
  }
  if (options.allowOther && options.allowRoot) {
    throw new UsageError('-o: expected allow_other or allow_root, found both')
  }
  return options
}

function flag(option: string, value: string | undefined, meaning: Partial<MountOptions>): Partial<MountOptions> {
  if (value !== undefined) {
    throw new UsageError(`-o ${option}: expected no value, found "${value}"`)
  }
  return meaning
}

function number(option: string, value: string | undefined, radix: 8 | 10, most: number): number {
  const digits = radix === 8 ? /^[0-7]+$/ : /^[0-9]+$/
  const parsed = Number.parseInt(value ?? '', radix)
  if (!digits.test(value ?? '') || parsed > most) {
    const kind = radix === 8 ? 'an octal number' : 'a number'
    throw new UsageError(`-o ${option}: expected ${kind} up to ${most.toString(radix)}, found "${value ?? ''}"`)
  }
  return parsed
}

/** A backslash would be an escape to libfuse. */
function name(option: string, value: string | undefined): string {
  if (value === undefined || value === '' || value.includes('\\')) {
    throw new UsageError(`-o ${option}: expected a name without a backslash, found "${value ?? ''}"`)
  }
  return value
}
