import { MountError } from '../fuse/errors.ts'
import { findMount } from '../fuse/mount-table.ts'
import { isStale, realPath } from '../fuse/mountpoint.ts'
import { detach, unmount } from '../fuse/unmount.ts'

/**
 * Unmounts a checkpoint; its daemon ends by itself. A stale mount, whose daemon was killed, is cleared too.
 *
 * @throws MountError if nothing of ours is mounted there, or it is in use.
 */
export async function unmountCheckpoint(path: string): Promise<void> {
  const mountpoint = realPath(path)
  const entry = await findMount(mountpoint)
  if (!entry?.ours) {
    const found = entry === undefined ? 'no mount' : `a filesystem of type ${entry.type}`
    throw new MountError(`${path}: expected a mount of vmssfs, found ${found}`)
  }
  await (isStale(mountpoint) ? detach(mountpoint) : unmount(mountpoint))
}
