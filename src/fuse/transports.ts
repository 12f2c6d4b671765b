import { endianness, release } from 'node:os'
import { MountError } from './errors.ts'
import type { MountOptions, Served } from './mount.ts'
import type { Operations } from './operations.ts'
import { hasProgram, isRoot } from './programs.ts'

/** How the kernel's requests reach us: over its own protocol on /dev/fuse, or through the package fuse-native. */
export type Transport = 'kernel' | 'fuse-native'

/** A transport that was chosen, and may have threads that wait for work already. */
export interface ChosenTransport {
  readonly name: Transport
  /** Mounts and serves; once, and not after `cancel`. */
  serve(operations: Operations, mountpoint: string, options: MountOptions): Promise<Served>
  /** Lets go of it, where it is not going to serve after all. */
  cancel(): void
}

/** The first Linux that speaks a protocol that we answer, 7.31. */
const OLDEST_LINUX = [5, 2] as const

/**
 * The transport of that name; `auto` takes the kernel's own where that is possible. What a transport needs is loaded only
 * when it is chosen, and started at once: whoever chooses before he opens the evidence, mounts sooner.
 *
 * @throws MountError if the one that was asked for is not possible here.
 */
export async function chooseTransport(wish: Transport | 'auto' = 'auto', workers?: number): Promise<ChosenTransport> {
  const obstacle = wish === 'fuse-native' ? undefined : await kernelObstacle()
  if (wish === 'kernel' && obstacle !== undefined) {
    throw new MountError(`--transport kernel: ${obstacle}`, '--transport fuse-native')
  }
  if (wish === 'fuse-native' || obstacle !== undefined) {
    const { serveWithFuseNative } = await import('./native.ts')
    return { name: 'fuse-native', serve: serveWithFuseNative, cancel: () => undefined }
  }
  const { startKernelTransport } = await import('./kernel/transport.ts')
  return startKernelTransport(workers)
}

/** Why the kernel's protocol cannot be spoken here, if it cannot. */
async function kernelObstacle(): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    return `expected Linux, found ${process.platform}`
  }
  if (endianness() !== 'LE') {
    return 'expected a little-endian machine, found a big-endian one'
  }
  const [major = 0, minor = 0] = release().split('.').map(Number)
  if (major < OLDEST_LINUX[0] || (major === OLDEST_LINUX[0] && minor < OLDEST_LINUX[1])) {
    return `expected Linux ${OLDEST_LINUX.join('.')} or later, found ${release()}`
  }
  if (isRoot()) {
    return undefined
  }
  if (!hasProgram('fusermount3')) {
    return 'fusermount3: expected the program that mounts for an ordinary user, found none in PATH'
  }
  const { loadLibc } = await import('./kernel/libc.ts')
  try {
    await loadLibc()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
