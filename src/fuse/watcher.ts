/**
 * A process of its own that waits for the end of the one that serves a mount, and then takes the mount away if that was not
 * done: SIGKILL leaves nobody else to do it. It is told the mount's number in the mount table on standard input, whose end
 * is the end of the other process.
 */
import { text } from 'node:stream/consumers'
import { findMountById } from './mount-table.ts'
import { isStale } from './mountpoint.ts'
import { detach } from './unmount.ts'

const entry = await findMountById(await text(process.stdin))
// By now the number may be that of another mount.
if (entry?.ours && isStale(entry.mountpoint)) {
  await detach(entry.mountpoint)
}
