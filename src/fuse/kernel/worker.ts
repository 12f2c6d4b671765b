/**
 * A thread that serves the kernel: it reads a request, answers it, reads the next. A read of a file whose table it holds is
 * answered here and now: the evidence is read to right behind the header of the reply, and nothing is allocated, waited for
 * or looked up by name. What needs the tree goes to the thread that has it, which writes the reply to the same device.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type Extents, locate, readInto, sizeOf } from '../../evidence/extents.ts'
import type { EvidenceFile } from '../../evidence/file.ts'
import { fromPlain } from '../../evidence/share.ts'
import { EINVAL, EIO, errnoOf } from '../operations.ts'
import { needsTree } from './answers.ts'
import { Control } from './control.ts'
import { receive, send, sendError } from './device.ts'
import { asksInVain, formality, handsOver, refusal, type Settings } from './formalities.ts'
import { IN_HEADER, MAX_READ_SIZE, OPCODES, OUT_HEADER, READ_IN, REQUEST_BUFFER_SIZE } from './protocol.ts'
import { replyTo } from './requests.ts'
import type { FromWorker, ToWorker, WorkerSetup } from './workers.ts'

const { memory, thread, port } = workerData as WorkerSetup
const control = new Control(memory)
const requestMemory = new ArrayBuffer(REQUEST_BUFFER_SIZE)
const request = Buffer.from(requestMemory)
const reply = Buffer.from(new ArrayBuffer(OUT_HEADER.size + MAX_READ_SIZE))
/** A reply of zeros, of whatever size: nothing but its header is ever written. */
const zeros = Buffer.from(new ArrayBuffer(OUT_HEADER.size + MAX_READ_SIZE))
let settings: Settings = { owner: undefined, backing: new Map() }
/** What can be read here and now. So many are kept; whose table is lost is asked for again. */
const tables = new Map<number, Extents>()
const MOST_TABLES = 4096
const evidence = new Map<number, EvidenceFile>()

/**
 * The same memory as 32-bit words, and where the fields lie in them that a read has to look at or to write: the quickest way
 * to a number. A number of 64 bits is two words, the lower one first.
 */
const WORD = 4
const HIGH = 0x1_0000_0000
const asked = new Uint32Array(requestMemory)
const [replied, repliedZeros] = [new Uint32Array(reply.buffer, 0, WORD), new Uint32Array(zeros.buffer, 0, WORD)]
const OPCODE = IN_HEADER.offsetOf('opcode') / WORD
const UNIQUE = IN_HEADER.offsetOf('unique') / WORD
const NODE = IN_HEADER.offsetOf('nodeid') / WORD
const OFFSET = (IN_HEADER.size + READ_IN.offsetOf('offset')) / WORD
const SIZE = (IN_HEADER.size + READ_IN.offsetOf('size')) / WORD
const REPLY_LENGTH = OUT_HEADER.offsetOf('len') / WORD
const REPLY_UNIQUE = OUT_HEADER.offsetOf('unique') / WORD
const READ_REQUEST_SIZE = IN_HEADER.size + READ_IN.size

tell({ kind: 'ready' })
control.waitForStart()
hearNews()
serve(control.device)

function serve(device: number): void {
  let unique: bigint | undefined
  try {
    while (!control.isStopped) {
      const size = receive(device, request)
      if (size === 0) {
        return
      }
      if (control.isStopped) {
        unique = uniqueAsked()
      } else {
        answer(device, size)
      }
    }
  } finally {
    leave(device, unique)
  }
}

/**
 * Leaves, with the request that it was woken by to do so. Whoever is last when all were told to leave closes the device: that
 * ends the requests which nobody has read.
 */
function leave(device: number, unique: bigint | undefined): void {
  const isLast = control.leave(thread)
  if (unique !== undefined) {
    // Not before: who counts us waits for this reply.
    sendError(device, unique, EIO)
  }
  if (isLast && control.isStopped) {
    control.closeDevice()
  }
}

/** Answers a request. A bug in that is said, and answered with EIO: nobody may wait for ever. */
function answer(device: number, size: number): void {
  try {
    const isRead = size === READ_REQUEST_SIZE && asked[OPCODE] === OPCODES.READ
    if (!isRead || !answerRead(device)) {
      answerOther(device, size)
    }
  } catch (error) {
    tell({ kind: 'bug', text: error instanceof Error ? (error.stack ?? error.message) : `${error}` })
    sendError(device, uniqueAsked(), EIO)
  }
}

/** Answers a READ; false if the table of its file is not here. */
function answerRead(device: number): boolean {
  const inode = asked[NODE] as number
  const extents = tables.get(inode) ?? (hearNews() ? tables.get(inode) : undefined)
  if (extents === undefined || asked[NODE + 1] !== 0) {
    return false
  }
  const offset = (asked[OFFSET + 1] as number) * HIGH + (asked[OFFSET] as number)
  const size = asked[SIZE] as number
  if (size > MAX_READ_SIZE) {
    sendError(device, uniqueAsked(), EINVAL)
    return true
  }
  const end = Math.min(offset + size, sizeOf(extents))
  const extent = extents[locate(extents, offset)]
  if (extent?.kind === 'zero' && end <= extent.end) {
    sendBehindHeader(device, zeros, repliedZeros, end - offset)
    return true
  }
  try {
    const count = readInto(extents, reply, OUT_HEADER.size, size, offset)
    sendBehindHeader(device, reply, replied, count)
  } catch (error) {
    sendError(device, uniqueAsked(), errnoOf(error, inode, offset))
  }
  return true
}

/** Sends a reply whose `count` bytes are in their place. The error number in its header is 0, and always was. */
function sendBehindHeader(device: number, bytes: Buffer, words: Uint32Array, count: number): void {
  words[REPLY_LENGTH] = OUT_HEADER.size + count
  words[REPLY_UNIQUE] = asked[UNIQUE] as number
  words[REPLY_UNIQUE + 1] = asked[UNIQUE + 1] as number
  send(device, bytes, OUT_HEADER.size + count)
}

function uniqueAsked(): bigint {
  return request.readBigUInt64LE(UNIQUE * WORD)
}

/** Answers what needs no tree, and passes on the rest. */
function answerOther(device: number, size: number): void {
  const opcode = asked[OPCODE] as number
  const isForTree = needsTree(opcode) && !asksInVain(opcode, request.subarray(IN_HEADER.size, size))
  if (size >= IN_HEADER.size && (isForTree || handsOver(settings, opcode, asked[NODE] as number))) {
    const copy = requestMemory.slice(0, size)
    tell({ kind: 'request', bytes: copy }, [copy])
    return
  }
  const formal = replyTo(request.subarray(0, size), (asked) => refusal(settings, asked) ?? formality(settings, asked))
  if (formal !== undefined) {
    send(device, formal)
  }
}

/** Takes in what has come from the other thread; false if nothing has. */
function hearNews(): boolean {
  let heard = false
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
    const news = next.message as ToWorker
    if (news.kind === 'settings') {
      settings = news.settings
    } else {
      if (tables.size > MOST_TABLES) {
        tables.clear()
      }
      for (const [inode, table] of news.tables) {
        tables.set(inode, fromPlain(table, evidence))
      }
    }
    heard = true
  }
  for (const [descriptor, file] of heard ? evidence : []) {
    file.onChange = ({ finding }) => tell({ kind: 'change', descriptor, found: finding.found })
  }
  return heard
}

function tell(message: FromWorker, transferred: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transferred)
}
