/**
 * Takes a mount away, by its number in the mount table, if it is dead: run when the process that served it is gone, which
 * could not do so itself if it was killed.
 */
import { findMountById } from './mount-table.ts'
import { isStale } from './mountpoint.ts'
import { detach } from './unmount.ts'

const [id = ''] = process.argv.slice(2)
const entry = await findMountById(id)
// By now the number may be that of another mount.
if (entry?.ours && isStale(entry.mountpoint)) {
  await detach(entry.mountpoint)
}
