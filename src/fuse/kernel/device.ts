import { readSync, writeSync } from 'node:fs'
import { EIO } from '../operations.ts'
import { OUT_HEADER } from './protocol.ts'

/**
 * Waits for the next request and returns its size in bytes, or 0 once the mount is gone.
 *
 * Of the errors of fuse_dev_do_read (fs/fuse/dev.c), EINTR is a signal, EAGAIN a device that does not wait, ENOENT a request
 * that was interrupted before it was read; ENODEV is the end of the mount.
 */
export function receive(device: number, buffer: Uint8Array): number {
  for (;;) {
    try {
      return readSync(device, buffer, 0, buffer.length, null)
    } catch (error) {
      switch ((error as NodeJS.ErrnoException).code) {
        case 'EINTR':
        case 'EAGAIN':
        case 'ENOENT':
          continue
        case 'ENODEV':
          return 0
        default:
          throw error
      }
    }
  }
}

/**
 * Writes a reply, the first `size` bytes of the buffer. Whoever asked is never left waiting: a reply that the kernel does not
 * take is replaced by EIO. ENOENT (the request was interrupted) and the end of the mount are nobody's business.
 */
export function send(device: number, reply: Buffer, size = reply.length): void {
  try {
    writeSync(device, reply, 0, size, null)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENODEV') {
      sendError(device, OUT_HEADER.decodeBytes(reply).unique, EIO)
    }
  }
}

/** Answers a request with an error number. */
export function sendError(device: number, unique: bigint, errno: number): void {
  try {
    writeSync(device, OUT_HEADER.encode({ len: OUT_HEADER.size, error: -errno, unique }))
  } catch {
    // There is nobody left to tell.
  }
}
