import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, statfsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { sizeOf } from '../../evidence/extents.ts'
import { traceOf } from '../../evidence/trace.ts'
import type { File } from '../../tree/node.ts'
import { MountError } from '../errors.ts'
import type { MountOptions, Served } from '../mount.ts'
import { findMount } from '../mount-table.ts'
import { EPROTO, type Operations } from '../operations.ts'
import { isRoot } from '../programs.ts'
import type { ChosenTransport } from '../transports.ts'
import { detach, unmountCommand } from '../unmount.ts'
import { answer } from './answers.ts'
import { receive, send, sendError } from './device.ts'
import type { Settings } from './formalities.ts'
import { mountDevice } from './mounting.ts'
import { negotiate } from './negotiation.ts'
import { registerBackingFiles } from './passthrough.ts'
import { IN_HEADER, MAJOR, OLDEST_MINOR, OPCODES, REQUEST_BUFFER_SIZE } from './protocol.ts'
import { type Request, replyTo } from './requests.ts'
import { Workers } from './workers.ts'

const trace = traceOf('vmssfs:fuse')

/** From what size in bytes on a file that shows no tag is worth giving its table to a thread: smaller ones are read once. */
const WORTH_TEACHING = 262_144

/** Who reads the file of one tag mostly reads the next ones too: up to which number behind it a thread learns of them. */
const TAGS_AHEAD = 255

/** Opens a path without asking anybody for what is there (asm-generic/fcntl.h); Node has no name for it. */
const O_PATH = 0o10000000

/** How long the threads are given to notice by themselves that the mount is gone, in milliseconds. */
const ENDING_TIME = 1000

/** Two, so that one that waits for a disk does not stop everything. */
const FEWEST_WORKERS = 2
const MOST_WORKERS = 6

const HEADER_UNIQUE = IN_HEADER.offsetOf('unique')

/**
 * The transport that speaks the kernel's protocol itself: mounts, and serves the operations from threads until the mount is
 * gone. The threads are started at once, `count` of them or as many as suit the machine.
 */
export function startKernelTransport(count = defaultWorkerCount()): ChosenTransport {
  const workers = new Workers(count)
  return {
    name: 'kernel',
    serve: (operations, mountpoint, options) => serve(workers, operations, mountpoint, options),
    cancel: () => workers.cancel(),
  }
}

/** Mounts and serves. Resolves once the kernel has greeted us. */
async function serve(
  workers: Workers,
  operations: Operations,
  mountpoint: string,
  options: MountOptions,
): Promise<Served> {
  let settings: Settings = { owner: options.allowRoot ? process.getuid?.() : undefined, backing: new Map() }
  let device = -1
  try {
    // Threads that cannot be started must not leave a mount behind that nobody answers.
    await workers.ready
    device = await mountDevice(mountpoint, options)
    const { passthrough } = greet(device, options.passthrough && isRoot())
    if (passthrough) {
      settings = { ...settings, backing: await registerBackingFiles(device, operations.rootFiles) }
    }
  } catch (error) {
    if (device !== -1) {
      closeSync(device)
      await detach(mountpoint).catch(() => undefined)
    }
    throw error
  }
  trace('%s: %d threads, %d files with a backing file', mountpoint, workers.count, settings.backing.size)
  workers.serve(device, settings, (bytes, thread) => {
    const reply = replyTo(bytes, (request) => {
      workers.teach(thread, [...filesWorthTeaching(operations, request)])
      return answer(operations, settings, request)
    })
    if (reply !== undefined && workers.device !== undefined) {
      send(workers.device, reply)
    }
  })
  const id = (await findMount(mountpoint))?.id
  return { passthrough: settings.backing.size > 0, ended: workers.ended, ...endings(mountpoint, id, workers) }
}

/** The file that a request reads, if it is likely to be read again, and the tags that are likely to be read next. */
function* filesWorthTeaching(operations: Operations, { opcode, inode }: Request): Generator<File> {
  const node = opcode === OPCODES.READ ? operations.node(inode) : undefined
  if (node?.kind !== 'file') {
    return
  }
  if (node.origin === undefined) {
    yield* sizeOf(node.extents) < WORTH_TEACHING ? [] : [node]
    return
  }
  for (let number = inode; number <= inode + TAGS_AHEAD; number++) {
    const next = operations.node(number)
    if (next?.kind === 'file' && next.origin !== undefined) {
      yield next
    }
  }
}

/** A thread for each processor: more of them take turns. Each costs about 10 MiB of memory. */
function defaultWorkerCount(): number {
  return Math.min(Math.max(availableParallelism(), FEWEST_WORKERS), MOST_WORKERS)
}

/** Answers INIT, which the kernel asks first of all. */
function greet(device: number, wantsPassthrough: boolean): { passthrough: boolean } {
  const buffer = Buffer.alloc(REQUEST_BUFFER_SIZE)
  for (;;) {
    const size = receive(device, buffer)
    if (size === 0) {
      throw new MountError('/dev/fuse: expected a greeting from the kernel, found that the mount is gone')
    }
    const negotiation = negotiate(buffer.subarray(IN_HEADER.size, size), wantsPassthrough)
    if ('tooOld' in negotiation) {
      sendError(device, buffer.readBigUInt64LE(HEADER_UNIQUE), EPROTO)
      throw new MountError(
        `/dev/fuse: expected a kernel that speaks FUSE ${MAJOR}.${OLDEST_MINOR} or later, found ${negotiation.tooOld}`,
        '--transport fuse-native',
      )
    }
    const reply = replyTo(buffer.subarray(0, size), () => negotiation.reply)
    if (reply !== undefined) {
      send(device, reply)
    }
    if (negotiation.done) {
      return negotiation
    }
  }
}

/** What is to be done if the process ends before its mounts. One listener has all of them: Node warns of more than ten. */
const atExit = new Set<() => void>()
process.on('exit', () => {
  for (const work of atExit) {
    work()
  }
})

/**
 * How serving ends though the mount goes on, which is in use. The threads wait in read(2), and the end of the process waits
 * for the threads: so they are woken, each by a request that we make the kernel send, by statfs(2) through a descriptor of the
 * mount's root, which works after the mount is out of sight.
 */
function endings(mountpoint: string, id: string | undefined, workers: Workers): Pick<Served, 'detach'> {
  const stop = (door: number) => {
    workers.stop(() => {
      try {
        statfsSync(`/proc/self/fd/${door}`)
      } catch {
        // It has done its work.
      }
    })
    closeSync(door)
  }
  // A bug may end the process at any time.
  const onExit = () => {
    const door = workers.isServing ? openDoor(mountpoint, id) : undefined
    if (door !== undefined) {
      stop(door)
      const [program, ...args] = unmountCommand(mountpoint, true)
      spawnSync(program, args)
    } else if (!workers.waitUntilEnded(ENDING_TIME)) {
      // The mount lives on in another namespace, and there is no other way out of read(2).
      process.kill(process.pid, 'SIGKILL')
    }
  }
  atExit.add(onExit)
  workers.ended.then(() => atExit.delete(onExit))
  return {
    async detach() {
      const door = openDoor(mountpoint, id)
      await detach(mountpoint)
      if (door !== undefined) {
        stop(door)
      }
    },
  }
}

/** A descriptor of the root of our mount, which asks us nothing; undefined if it is not there any more. */
function openDoor(mountpoint: string, id: string | undefined): number | undefined {
  let door: number
  try {
    door = openSync(mountpoint, O_PATH)
  } catch {
    return undefined
  }
  if (/^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${door}`, 'utf8'))?.[1] === id) {
    return door
  }
  closeSync(door)
  return undefined
}
