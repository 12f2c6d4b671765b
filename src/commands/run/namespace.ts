/** Mount namespaces (mount_namespaces(7)): what is mounted in one is seen by the processes in it, and by nobody else. */
import { spawnSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { MountError } from '../../fuse/errors.ts'
import { processes, targetOf } from '../../fuse/processes.ts'
import { hasProgram, isRoot } from '../../fuse/programs.ts'

/** What is mounted outside meanwhile, such as a disk for the results, is seen inside too; nothing goes the other way. */
const MOUNT_NAMESPACE = ['--mount', '--propagation', 'slave']

/** In a namespace of users (user_namespaces(7)) an ordinary user is root, so that the kernel lets him mount by himself. */
const USER_NAMESPACE = ['--user', '--map-root-user']

/**
 * The program and its options that run what follows `--` in a new namespace. It is tried, for later on its standard error
 * would be that of what it runs.
 *
 * @throws MountError if we may make none, or there is no such program.
 */
export function unshareCommand(): readonly [string, ...string[]] {
  if (!hasProgram('unshare')) {
    throw new MountError('unshare: expected the program of util-linux, found none in PATH', 'install util-linux')
  }
  const options = isRoot() ? MOUNT_NAMESPACE : [...USER_NAMESPACE, ...MOUNT_NAMESPACE]
  const { status, stderr, error } = spawnSync('unshare', [...options, '--', 'true'], { encoding: 'utf8' })
  if (status !== 0) {
    const found = error?.message ?? stderr.trim().split('\n')[0]
    throw isRoot()
      ? new MountError(
          `unshare: expected that root may make a mount namespace, found ${found}`,
          'see that it is permitted here; in a container, it needs --cap-add SYS_ADMIN --device /dev/fuse',
        )
      : new MountError(
          `unshare: expected that a user may make a user namespace, found ${found}`,
          'run it as root, or have root set kernel.unprivileged_userns_clone=1 (Debian) or ' +
            'kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu) with sysctl, or mount with vmssfs mount',
        )
  }
  return ['unshare', ...options]
}

/**
 * The namespace that was made for this process, as the kernel names it: `mnt:[4026532456]` (namespaces(7)).
 *
 * @throws MountError if none was made: whoever started us is in the same one.
 */
export function ownNamespace(): string {
  const namespace = readlinkSync('/proc/self/ns/mnt')
  if (namespace === namespaceOf(`${process.ppid}`)) {
    throw new MountError(`/proc/self/ns/mnt: expected a namespace of its own, found that of its parent, ${namespace}`)
  }
  return namespace
}

/** Kills all processes in a namespace that {@link ownNamespace} named, but this one: a command, and whatever it has started. */
export function endNamespace(namespace: string): void {
  const killed = new Set([`${process.pid}`])
  for (;;) {
    // What was killed starts nothing any more, so once nobody is new, nobody is left.
    const found = processes().filter((pid) => !killed.has(pid) && namespaceOf(pid) === namespace)
    if (found.length === 0) {
      return
    }
    for (const pid of found) {
      killed.add(pid)
      kill(Number(pid))
    }
  }
}

/** Empty for a process that has ended or is somebody else's. */
function namespaceOf(pid: string): string {
  return targetOf(`/proc/${pid}/ns/mnt`)
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended since.
  }
}
