import { EINVAL, EIO } from '../operations.ts'
import { IN_HEADER, OUT_HEADER } from './protocol.ts'

/** A request of the kernel's whose header is read. */
export interface Request {
  readonly opcode: number
  /** The number of the node that it is about, which is its inode number. */
  readonly inode: number
  /** Who asks; root, where the kernel asks of its own accord. */
  readonly uid: number
  /** What follows the header. */
  readonly body: Buffer
}

/** What follows the header of a reply, an error number, or nothing for a request that wants no reply. */
export type Answer = Buffer | number | undefined

/** A reply without a body: done. */
export const DONE = Buffer.alloc(0)

const UNIQUE_OFFSET = IN_HEADER.offsetOf('unique')

/**
 * The whole reply to a request, or undefined if it wants none. One that makes no sense is answered with EINVAL, and one that
 * runs into a bug of ours with EIO, which is said: neither may take the mount down.
 */
export function replyTo(bytes: Buffer, answer: (request: Request) => Answer): Buffer | undefined {
  if (bytes.length < IN_HEADER.size) {
    return undefined
  }
  const unique = bytes.readBigUInt64LE(UNIQUE_OFFSET)
  const content = answerGuarded(bytes, answer)
  if (content === undefined) {
    return undefined
  }
  if (typeof content === 'number') {
    return OUT_HEADER.encode({ len: OUT_HEADER.size, error: -content, unique })
  }
  const reply = Buffer.allocUnsafe(OUT_HEADER.size + content.length)
  OUT_HEADER.encodeInto(reply, 0, { len: reply.length, error: 0, unique })
  reply.set(content, OUT_HEADER.size)
  return reply
}

function answerGuarded(bytes: Buffer, answer: (request: Request) => Answer): Answer {
  try {
    const { opcode, nodeid, uid } = IN_HEADER.decodeBytes(bytes)
    return answer({ opcode, inode: nodeid, uid, body: bytes.subarray(IN_HEADER.size) })
  } catch (error) {
    if (error instanceof RangeError) {
      return EINVAL
    }
    process.stderr.write(`vmssfs: a bug: ${error instanceof Error ? error.stack : error}\n`)
    return EIO
  }
}
