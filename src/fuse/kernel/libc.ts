import type { LibraryHandle } from 'koffi'
import { MountError } from '../errors.ts'

/** Constants of Linux (sys/socket.h, bits/socket.h), the same on every machine that Node runs on. */
const [AF_UNIX, SOCK_STREAM, SOCK_CLOEXEC] = [1, 1, 0o2000000] as const
const [SOL_SOCKET, SCM_RIGHTS, MSG_CMSG_CLOEXEC] = [1, 1, 0x40000000] as const

/** The few functions of the C library that Node lacks, called through the package koffi, which this module alone imports. */
export interface Libc {
  /** Two sockets that are connected with each other, closed when another program is started. */
  socketPair(): [number, number]
  /**
   * Waits for a message with a descriptor in its control data (unix(7), SCM_RIGHTS) and returns that; undefined if the other
   * end is closed without one.
   */
  receiveDescriptor(socket: number): Promise<number | undefined>
  /** ioctl(2) with bytes for its argument; negative if it fails, and the error number then is {@link errno}. */
  ioctl(descriptor: number, request: number, argument: Buffer): number
  /** syscall(2) with a descriptor, a path, flags, and bytes with their size: what the calls of our use take. */
  syscall(number: number, descriptor: number, path: string, flags: number, bytes: Buffer | null, size: number): number
  errno(): number
}

/**
 * @throws MountError if koffi cannot be loaded.
 */
export async function loadLibc(): Promise<Libc> {
  try {
    const { default: koffi } = await import('koffi')
    return bind(koffi)
  } catch (error) {
    const found = (error as Error).message.split('\n')[0]
    throw new MountError(`koffi: expected the package for ${process.platform}-${process.arch}, found ${found}`)
  }
}

type Koffi = typeof import('koffi')['default']

function bind(koffi: Koffi): Libc {
  // What is in the process already: no name of a library has to be known.
  const library: LibraryHandle = koffi.load(null)
  const socketpair = library.func('int socketpair(int domain, int type, int protocol, _Out_ int *sockets)')
  const ioctl = library.func('int ioctl(int descriptor, unsigned long request, void *argument)')
  const syscall = library.func(
    'long syscall(long number, int descriptor, const char *path, unsigned int flags, void *bytes, size_t size)',
  )
  const iovec = koffi.struct({ base: 'void *', size: 'size_t' })
  const message = koffi.struct({
    name: 'void *',
    nameSize: 'uint32_t',
    vectors: koffi.pointer(iovec),
    vectorCount: 'size_t',
    control: 'void *',
    controlSize: 'size_t',
    flags: 'int',
  })
  const recvmsg = library.func('recvmsg', 'long', ['int', koffi.inout(koffi.pointer(message)), 'int'])
  return {
    socketPair() {
      const sockets: [number, number] = [0, 0]
      if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) !== 0) {
        throw new MountError(`socketpair: error number ${koffi.errno()}`)
      }
      return sockets
    },
    receiveDescriptor(socket) {
      const [data, control] = [Buffer.alloc(1), Buffer.alloc(CONTROL_SIZE)]
      const header = {
        name: null,
        nameSize: 0,
        vectors: [{ base: data, size: data.length }],
        vectorCount: 1,
        control,
        controlSize: control.length,
        flags: 0,
      }
      return new Promise((resolve, reject) => {
        recvmsg.async(socket, header, MSG_CMSG_CLOEXEC, (error: Error | null, count: number) => {
          if (error) {
            reject(error)
          } else {
            resolve(count > 0 ? descriptorIn(control) : undefined)
          }
        })
      })
    },
    ioctl: (descriptor, request, argument) => ioctl(descriptor, request, argument),
    syscall: (number, descriptor, path, flags, bytes, size) => syscall(number, descriptor, path, flags, bytes, size),
    errno: () => koffi.errno(),
  }
}

/** Room for one `struct cmsghdr` (its size as a size_t, level and type) and a descriptor, aligned as CMSG_SPACE does. */
const POINTER_SIZE = process.arch === 'arm' || process.arch === 'ia32' ? 4 : 8
const CONTROL_SIZE = POINTER_SIZE + 8 + 8

function descriptorIn(control: Buffer): number | undefined {
  const [level, type] = [control.readInt32LE(POINTER_SIZE), control.readInt32LE(POINTER_SIZE + 4)]
  return level === SOL_SOCKET && type === SCM_RIGHTS ? control.readInt32LE(POINTER_SIZE + 8) : undefined
}
