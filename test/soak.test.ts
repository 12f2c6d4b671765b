/**
 * Long and rough use: what mounts and reads without number leave behind, which must be nothing, and how a mount ends while
 * many are reading from it. Both transports, from outside.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { physmem, sha256, writeGuest } from './support/guest.ts'
import {
  daemonOf,
  daemonsOf,
  eventually,
  mounted,
  mountSkip,
  mountsAt,
  outputOf,
  type Running,
  runCommand,
  start,
  temporary,
  temporaryDirectory,
} from './support/mount.ts'

const TEST = { timeout: 180_000 }
const skip = mountSkip || (process.platform !== 'linux' && 'there is no /dev/fuse but on Linux')
const rich = skip ? '' : writeGuest(join(temporaryDirectory(), 'guest'))

/** The library's face, as it is built. */
const LIBRARY = new URL('../src/index.js', import.meta.url).href

const MEBIBYTE = 2 ** 20
const MOUNTS = 100
/** How many of them there are at a time. */
const LANES = 5
const READS = 100_000

/** Of each, in bytes. A thread costs ten times the first, the memory of this guest once. */
const MOST_KEPT_OF_A_MOUNT = MEBIBYTE
const MOST_KEPT_OF_A_READ = 256

/** libfuse 2 starts a thread where requests wait, and keeps so many for later (fuse_loop_mt.c). */
const IDLE_THREADS = { kernel: 0, 'fuse-native': 10 }

/** What a process holds. */
interface Holdings {
  descriptors: number
  threads: number
  /** Resident memory, in bytes. */
  memory: number
}

for (const transport of ['kernel', 'fuse-native'] as const) {
  describe(`transport ${transport}`, { skip }, () => {
    const options = ['--transport', transport]

    test(`${MOUNTS} mounts in one process leave nothing behind`, TEST, () =>
      temporary(async (directory) => {
        const program = join(directory, 'mounting.mjs')
        writeFileSync(program, MOUNTING)
        const args = [program, LIBRARY, rich, directory, transport, `${LANES}`, `${MOUNTS / LANES}`]
        const output = await outputOf(process.execPath, ['--expose-gc', ...args], { limit: 95_000 })
        const { before, after, size } = JSON.parse(output)
        assert.equal(size, physmem.length)
        assert.deepEqual([after.descriptors, after.threads], [before.descriptors, before.threads])
        assert.ok(after.memory - before.memory < MOUNTS * MOST_KEPT_OF_A_MOUNT, `${before.memory} to ${after.memory}`)
      }),
    )

    test(`${READS.toLocaleString('en')} reads leave nothing behind in the daemon`, TEST, () =>
      mounted(rich, options, async (mountpoint) => {
        const read = (count: number) =>
          outputOf(process.execPath, ['-e', READING, join(mountpoint, 'physmem.raw'), `${count}`])
        const daemon = daemonOf(mountpoint)
        await read(1000)
        const before = holdingsOf(daemon)
        await read(READS)
        const after = holdingsOf(daemon)
        assert.equal(after.descriptors, before.descriptors)
        assert.ok(after.threads - before.threads <= IDLE_THREADS[transport], `${before.threads} to ${after.threads}`)
        assert.ok(after.memory - before.memory < READS * MOST_KEPT_OF_A_READ, `${before.memory} to ${after.memory}`)
      }),
    )

    test('SIGTERM while 64 are reading ends the mount', TEST, () =>
      mounted(rich, options, async (mountpoint) => {
        const readers = await startReaders(mountpoint)
        process.kill(daemonOf(mountpoint), 'SIGTERM')
        await eventually('the daemon has ended', () => daemonsOf(mountpoint).length === 0)
        assert.equal(await brokenOff(readers), 64)
        assert.deepEqual(mountsAt(mountpoint), [])
      }),
    )

    test('SIGKILL while 64 are reading leaves a place for the next mount', TEST, () =>
      mounted(rich, options, async (mountpoint) => {
        const readers = await startReaders(mountpoint)
        process.kill(daemonOf(mountpoint), 'SIGKILL')
        assert.equal(await brokenOff(readers), 64)
        await eventually('the mount is cleared', () => mountsAt(mountpoint).length === 0)
        const again = await runCommand([...options, rich, mountpoint])
        assert.equal(again.status, 0, again.stderr)
        assert.equal(sha256(await readFile(join(mountpoint, 'physmem.raw'))), sha256(physmem))
      }),
    )

    const fate = { kernel: 'waits for them', 'fuse-native': 'breaks them off' }[transport]
    test(`a lazy unmount while 64 are reading ${fate}`, TEST, () =>
      mounted(rich, options, async (mountpoint) => {
        const readers = await startReaders(mountpoint)
        const daemon = daemonOf(mountpoint)
        const [program, option] = process.getuid?.() === 0 ? ['umount', '-l'] : ['fusermount3', '-uz']
        await outputOf(program as string, [option as string, mountpoint])
        assert.deepEqual(mountsAt(mountpoint), [])
        if (transport === 'kernel') {
          await goOn(daemon)
          assert.equal(await brokenOff(readers, true), 0)
        } else {
          // It only looks at the mount table, for libfuse 2 does not tell when the last one has closed.
          assert.equal(await brokenOff(readers), 64)
        }
        await eventually('the daemon has ended', () => daemonsOf(mountpoint).length === 0)
      }),
    )

    test('vmssfs unmount while 64 are reading is refused, and harms nobody', TEST, () =>
      mounted(rich, options, async (mountpoint) => {
        const readers = await startReaders(mountpoint)
        const { status, stderr } = await runCommand(['unmount', mountpoint])
        assert.equal(status, 9, stderr)
        assert.match(stderr, new RegExp(`^vmssfs: ${mountpoint}: in use by ${readers.child.pid} \\(`))
        assert.equal(mountsAt(mountpoint).length, 1)
        await goOn(daemonOf(mountpoint))
        assert.equal(await brokenOff(readers, true), 0)
      }),
    )
  })
}

function holdingsOf(pid: number): Holdings {
  const [descriptors = 0, threads = 0] = ['fd', 'task'].map((name) => readdirSync(`/proc/${pid}/${name}`).length)
  const kibibytes = Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  return { descriptors, threads, memory: kibibytes * 1024 }
}

/** Starts readers on a mount, and waits until they are at it. */
async function startReaders(mountpoint: string): Promise<Running> {
  const file = join(mountpoint, 'physmem.raw')
  const readers = start(process.execPath, ['-e', READERS, file], { env: { UV_THREADPOOL_SIZE: '64' } })
  await eventually('all have it open', () => readdirSync(`/proc/${readers.child.pid}/fd`).length > 64)
  await goOn(daemonOf(mountpoint))
  return readers
}

/** Waits until the daemon has read so much evidence that every reader must have been answered. */
async function goOn(daemon: number): Promise<void> {
  const read = () => Number(/^rchar: (\d+)/m.exec(readFileSync(`/proc/${daemon}/io`, 'utf8'))?.[1])
  const enough = read() + 64 * MEBIBYTE
  await eventually('the readers go on', () => read() > enough)
}

/** Ends the readers if they are told to, and answers how many met an error. None may have got a wrong byte. */
async function brokenOff({ child, finished }: Running, told = false): Promise<number> {
  if (told) {
    child.kill('SIGTERM')
  }
  const { status, stdout, stderr } = await finished
  assert.deepEqual([status, stderr], [0, ''])
  const { digests, errors } = JSON.parse(stdout)
  assert.deepEqual(digests, [sha256(physmem.subarray(0, 65_536)), sha256(physmem.subarray(65_536, 131_072))].sort())
  return errors
}

/**
 * Mounts and unmounts in rounds, in each so many at a time. Prints what this process holds after the first fifth of the
 * rounds and in the end, when no process that it started is left.
 */
const MOUNTING = `
  import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
  import { readFile } from 'node:fs/promises'
  import { setTimeout as sleep } from 'node:timers/promises'
  const [, , library, evidence, directory, transport, lanes, rounds] = process.argv
  const { mount, openCheckpoint, planTree } = await import(library)
  let size
  async function once(lane) {
    const guest = openCheckpoint(evidence)
    const mountpoint = directory + '/' + lane
    mkdirSync(mountpoint, { recursive: true })
    const mounted = await mount(planTree(guest), mountpoint, { transport, workers: 2 })
    size = (await readFile(mountpoint + '/physmem.raw')).length
    const { detached } = await mounted.unmount()
    if (detached !== undefined) {
      throw new Error(detached)
    }
    await mounted.ended
    guest.close()
  }
  async function holdings() {
    while (readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8') !== '') {
      await sleep(20)
    }
    gc()
    const [descriptors, threads] = ['fd', 'task'].map((name) => readdirSync('/proc/self/' + name).length)
    return { descriptors, threads, memory: process.memoryUsage.rss() }
  }
  let before
  for (let round = 1; round <= rounds; round++) {
    await Promise.all(Array.from({ length: lanes }, (_, lane) => once(lane)))
    if (round === rounds / 5) {
      before = await holdings()
    }
  }
  process.stdout.write(JSON.stringify({ before, after: await holdings(), size }))
  process.exit()`

/** Reads so many pages past the cache of the mount. */
const READING = `
  const { constants, openSync, readSync } = require('node:fs')
  const [, path, count] = process.argv
  const file = openSync(path, constants.O_RDONLY | constants.O_DIRECT)
  const page = Buffer.alloc(4096)
  for (let read = 0; read < Number(count); read++) {
    readSync(file, page, 0, page.length, ((read * 97) % 400) * page.length)
  }`

/** 64 readers of two stretches of a file, past the cache of the mount, until an error or SIGTERM ends each of them. */
const READERS = `
  const { constants, promises } = require('node:fs')
  const { createHash } = require('node:crypto')
  const SIZE = 65536
  const known = new Map()
  let [errors, stopped] = [0, false]
  process.once('SIGTERM', () => (stopped = true))
  async function reader(number) {
    const handle = await promises.open(process.argv[1], constants.O_RDONLY | constants.O_DIRECT)
    const buffer = Buffer.alloc(SIZE)
    for (let offset = (number % 2) * SIZE; !stopped; offset = SIZE - offset) {
      let bytesRead
      try {
        ;({ bytesRead } = await handle.read(buffer, 0, SIZE, offset))
      } catch {
        errors++
        break
      }
      if (bytesRead !== SIZE || !(known.get(offset) ?? buffer).equals(buffer)) {
        throw new Error(bytesRead + ' bytes at ' + offset)
      }
      known.has(offset) || known.set(offset, Buffer.from(buffer))
    }
    await handle.close().catch(() => undefined)
  }
  Promise.all(Array.from({ length: 64 }, (_, number) => reader(number))).then(() => {
    const digests = [...known.values()].map((bytes) => createHash('sha256').update(bytes).digest('hex')).sort()
    process.stdout.write(JSON.stringify({ digests, errors }))
  })`
