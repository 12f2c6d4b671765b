/**
 * Runs the built command as its user would, from outside: mounts, daemons and ordinary tools, each with a limit on its
 * time. Everything happens below a temporary directory, and what is still mounted or running there in the end is removed
 * by force and reported, so that no failure of one test reaches the next.
 *
 * A mount is answered by another process. Yet tests use asynchronous calls on it: a call that the daemon does not answer
 * then costs a thread until the daemon is killed, not the event loop that all the limits depend on.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs'
import { constants as osConstants, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** The command under test, as it is built. */
export const cliPath = fileURLToPath(new URL('../../src/cli.js', import.meta.url))

const { VMSSFS_REQUIRE_MOUNT, VMSSFS_TEST_TRANSPORT, PATH = '' } = process.env

/** The transport that VMSSFS_TEST_TRANSPORT wants every mount of the tests to have, as an option of the command. */
const transportArgs = VMSSFS_TEST_TRANSPORT ? ['--transport', VMSSFS_TEST_TRANSPORT] : []

/** The user and group that `asOrdinaryUser` runs programs as: nobody. */
export const ORDINARY_ID = 65534

/** Why nothing can be mounted here, or false. With VMSSFS_REQUIRE_MOUNT set, tests are to fail instead of being skipped. */
export const mountSkip: string | false = VMSSFS_REQUIRE_MOUNT ? false : whyNoMount()

/** Why no command can be run as another, ordinary user here, or false. */
export const ordinaryUserSkip: string | false = whyNoOrdinaryUser()

/** Why another user cannot mount here, or false: systems with udev let everybody open the device, others may not. */
export const ordinaryDeviceSkip: string | false =
  existsSync('/dev/fuse') && (statSync('/dev/fuse').mode & 0o006) === 0o006
    ? false
    : '/dev/fuse is not open to everybody'

/** How a program is run. */
export interface RunOptions {
  /** Milliseconds until it is killed and the test fails. */
  limit?: number
  cwd?: string
  /** Replaces variables of the environment; undefined removes one. */
  env?: Record<string, string | undefined>
  /** Run it as {@link ORDINARY_ID}. Only where {@link ordinaryUserSkip} is false. */
  asOrdinaryUser?: boolean
}

/** What came of a program. */
export interface Finished {
  status: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** Standard output as it was. */
  output: Buffer
}

/** A program that runs, and what becomes of it. */
export interface Running {
  child: ChildProcess
  finished: Promise<Finished>
}

/** One line of /proc/self/mountinfo. */
export interface MountEntry {
  mountpoint: string
  type: string
  source: string
  /** The options of this mount and those of its filesystem, together. */
  options: string[]
}

const RUN_LIMIT = 60_000
const BODY_LIMIT = 100_000
const SETTLE_LIMIT = 20_000
const directories = new Set<string>()
const children = new Set<ChildProcess>()

// A test file that ends early, by an error or by Ctrl-C, leaves no more behind than one that ends well.
process.on('exit', () => {
  for (const child of children) {
    child.kill('SIGKILL')
  }
  for (const directory of directories) {
    removeDirectory(directory)
  }
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(128 + osConstants.signals[signal]))
}

/** Starts a program. Its `finished` never hangs: it fails, and the program is killed, when the limit is over. */
export function start(program: string, args: readonly string[], options: RunOptions = {}): Running {
  const [file, argv] = options.asOrdinaryUser ? ['setpriv', [...ordinaryUserArgs(), program, ...args]] : [program, args]
  const child = spawn(file, argv, {
    cwd: options.cwd,
    env: environment(options),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.add(child)
  const finished = new Promise<Finished>((resolve, reject) => {
    const output: Buffer[] = []
    const errors: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
    const limit = options.limit ?? RUN_LIMIT
    const timer = setTimeout(() => {
      const state = child.exitCode === null ? 'runs' : 'has ended, but its output is still held open,'
      child.kill('SIGKILL')
      // Whoever holds the other end of the pipes shall not keep the test alive.
      child.stdout.destroy()
      child.stderr.destroy()
      const command = [program, ...args].join(' ')
      reject(new Error(`${command}\nstill ${state} after ${limit} ms; stderr: ${Buffer.concat(errors)}`))
    }, limit)
    const done = () => {
      clearTimeout(timer)
      children.delete(child)
    }
    child.on('error', (error) => {
      done()
      reject(error)
    })
    child.on('close', (status, signal) => {
      done()
      const bytes = Buffer.concat(output)
      const stderr = Buffer.concat(errors).toString()
      resolve({ status, signal, stdout: bytes.toString(), stderr, output: bytes })
    })
  })
  // Whoever asks for it late still gets the error; meanwhile it is not an unhandled one.
  finished.catch(() => {})
  return { child, finished }
}

/** Runs a program to its end. Whatever its status, that is an answer, not an error. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return start(program, args, options).finished
}

/** Runs a program that is expected to succeed, and answers its standard output. */
export async function outputOf(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await run(program, args, options)
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${stderr}`)
  return stdout
}

/** Runs the vmssfs command to its end. */
export function runCommand(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return run(process.execPath, [cliPath, ...withTransport(args)], options)
}

/** A command line that mounts, with the transport that is wanted; any other one as it is. */
function withTransport(args: readonly string[]): string[] {
  const [first = ''] = args
  if (first === 'mount') {
    return ['mount', ...transportArgs, ...args.slice(1)]
  }
  return /^[a-z]+$/.test(first) || args.length < 2 ? [...args] : [...transportArgs, ...args]
}

/** Starts `vmssfs -f` and waits until the mount answers. Fails with what the command says if it ends before. */
export async function foreground(
  evidence: string,
  mountpoint: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Running> {
  const running = start(process.execPath, [cliPath, '-f', ...transportArgs, ...args, evidence, mountpoint], options)
  let ended: Finished | undefined
  running.finished.then((finished) => {
    ended = finished
  }, ignore)
  await eventually(`${mountpoint} is mounted`, async () => {
    if (ended) {
      throw new Error(`vmssfs -f ended with ${ended.status ?? ended.signal}: ${ended.stderr}`)
    }
    // Listing, not just looking: the kernel shows a mount before anybody answers it.
    return mountsAt(mountpoint).length > 0 && (await run('ls', [mountpoint], options)).status === 0
  })
  return running
}

/**
 * Mounts evidence in the background on a new directory, runs the body, and unmounts; whatever happens, nothing stays
 * mounted and no daemon stays. A body that unmounts by itself is fine. Fails if anything had to be removed by force.
 */
export function mounted<T>(
  evidence: string,
  args: readonly string[],
  body: (mountpoint: string, started: Finished) => T | Promise<T>,
  options: RunOptions = {},
): Promise<T> {
  return temporary(async (directory) => {
    const mountpoint = join(directory, 'mnt')
    mkdirSync(mountpoint)
    const started = await runCommand([...args, evidence, mountpoint], options)
    assert.equal(started.status, 0, started.stderr)
    assert.equal(mountsAt(mountpoint).length, 1, 'the parent has ended, so the mount is there')
    const result = await body(mountpoint, started)
    if (mountsAt(mountpoint).length > 0) {
      const { status, stderr } = await runCommand(['unmount', mountpoint], options)
      assert.equal(status, 0, stderr)
    }
    return result
  })
}

/**
 * Runs the body with a new directory (its real path, open to every user) and removes it with all that is mounted or runs
 * below it. Fails if the body took too long, or left a mount or a process behind.
 */
export async function temporary<T>(body: (directory: string) => T | Promise<T>): Promise<T> {
  const directory = temporaryDirectory()
  const timer = new AbortController()
  try {
    const tooLong = sleep(BODY_LIMIT, undefined, { signal: timer.signal }).then(() => {
      throw new Error(`not done after ${BODY_LIMIT} ms`)
    })
    const result = await Promise.race([body(directory), tooLong])
    await eventually(
      () => `nothing is left below ${directory}, but there is ${leftovers(directory).join(', ')}`,
      () => leftovers(directory).length === 0,
    )
    return result
  } finally {
    timer.abort()
    removeDirectory(directory)
  }
}

/** A new directory, open to every user, that is removed when the test file ends. */
export function temporaryDirectory(): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'vmssfs-test-')))
  directories.add(directory)
  chmodSync(directory, 0o755)
  return directory
}

/** Waits until the condition holds. Fails, saying what did not come, when it has not for long. */
export async function eventually(
  what: string | (() => string),
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = Date.now() + SETTLE_LIMIT
  while (!(await condition())) {
    if (Date.now() > end) {
      throw new Error(`waited in vain until ${typeof what === 'string' ? what : what()}`)
    }
    await sleep(20)
  }
}

/** What is mounted on exactly this place, the topmost last. It asks nobody but the kernel, so a dead daemon is no matter. */
export function mountsAt(mountpoint: string): MountEntry[] {
  return allMounts().filter((entry) => entry.mountpoint === mountpoint)
}

/** The processes that have this mountpoint (or evidence) as an argument: daemons, and whatever tool still works on it. */
export function daemonsOf(path: string): number[] {
  return processes()
    .filter(({ args }) => args.includes(path))
    .map(({ pid }) => pid)
}

/** The one daemon of a mount. */
export function daemonOf(mountpoint: string): number {
  const [pid, ...others] = daemonsOf(mountpoint)
  assert.ok(pid !== undefined && others.length === 0, `one daemon of ${mountpoint}, not ${[pid, ...others].join(', ')}`)
  return pid
}

/** Whether a process has ended with all its threads, so that all it had open is closed. A zombie has. */
export function hasEnded(pid: number): boolean {
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    return threads.every((thread) => /\) [ZX] [^)]*$/.test(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')))
  } catch {
    return true
  }
}

/** Why a test that needs these programs must be skipped, or false. */
export function toolSkip(...programs: string[]): string | false {
  const missing = programs.filter((program) => !findProgram(program))
  return missing.length > 0 && `${missing.join(', ')} not installed`
}

/** Bytes that look random, and are the same for the same seed (an integer, not 0). */
export function pattern(seed: number, size: number): Buffer {
  const words = new Uint32Array(Math.ceil(size / 4))
  let state = seed
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[index] = state
  }
  return Buffer.from(words.buffer, 0, size)
}

function whyNoMount(): string | false {
  if (!existsSync('/dev/fuse')) {
    return 'no /dev/fuse here'
  }
  const missing = toolSkip('fusermount3')
  if (missing || process.getuid?.() !== 0) {
    return missing
  }
  // A container's root may have the device, but not the right to mount.
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  const systemAdministration = 1n << 21n
  return (BigInt(`0x${capabilities}`) & systemAdministration) === 0n && 'root may not mount here'
}

function whyNoOrdinaryUser(): string | false {
  if (process.getuid?.() !== 0) {
    return 'only root can become another user'
  }
  const missing = toolSkip('setpriv')
  if (missing) {
    return missing
  }
  const source = `require('node:fs').accessSync(${JSON.stringify(cliPath)}, ${constants.R_OK})`
  const { status } = spawnSync('setpriv', [...ordinaryUserArgs(), process.execPath, '-e', source], { timeout: 20_000 })
  return status !== 0 && `an ordinary user cannot read ${cliPath}`
}

function ordinaryUserArgs(): string[] {
  return [`--reuid=${ORDINARY_ID}`, `--regid=${ORDINARY_ID}`, '--clear-groups']
}

function environment(options: RunOptions): NodeJS.ProcessEnv {
  // The test runner's own settings are not for the programs that are tested; undefined removes a variable.
  const unset = { NODE_TEST_CONTEXT: undefined, NODE_OPTIONS: undefined, DEBUG: undefined }
  return { ...process.env, ...unset, LC_ALL: 'C', TZ: 'UTC', ...options.env }
}

function findProgram(program: string): boolean {
  return PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function allMounts(): MountEntry[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n').slice(0, -1)
  return lines.map((line) => {
    const [left = '', right = ''] = line.split(' - ')
    const [, , , , mountpoint = '', options = ''] = left.split(' ')
    const [type = '', source = '', superOptions = ''] = right.split(' ')
    return {
      mountpoint: unescapeOctal(mountpoint),
      type,
      source: unescapeOctal(source),
      options: [...options.split(','), ...superOptions.split(',')],
    }
  })
}

function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

function processes(): { pid: number; args: string[] }[] {
  const pids = readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
  return pids.map((pid) => {
    try {
      return { pid, args: readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0') }
    } catch {
      // It has ended since.
      return { pid, args: [] }
    }
  })
}

function isBelow(directory: string, path: string): boolean {
  return path === directory || path.startsWith(`${directory}/`)
}

function mountsBelow(directory: string): MountEntry[] {
  return allMounts().filter(({ mountpoint }) => isBelow(directory, mountpoint))
}

function processesBelow(directory: string): number[] {
  return processes()
    .filter(({ args }) => args.some((arg) => isBelow(directory, arg)))
    .map(({ pid }) => pid)
}

function leftovers(directory: string): string[] {
  return [
    ...mountsBelow(directory).map(({ mountpoint, type }) => `a ${type} on ${mountpoint}`),
    ...processesBelow(directory).map((pid) => `process ${pid}`),
  ]
}

/** Synchronous, so that it also works while this process exits. */
function removeDirectory(directory: string): void {
  directories.delete(directory)
  // First the processes: without its daemon a mount answers at once (ENOTCONN), and then nothing below can hang.
  for (const pid of processesBelow(directory)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended since.
    }
  }
  for (const { mountpoint } of mountsBelow(directory).reverse()) {
    const [program, option] = process.getuid?.() === 0 ? ['umount', '-l'] : ['fusermount3', '-uz']
    spawnSync(program, [option, mountpoint], { timeout: 20_000 })
  }
  if (mountsBelow(directory).length === 0) {
    // Copies of a mount have its modes, and only root can empty a directory that is not writable.
    spawnSync('chmod', ['-R', 'u+rwX', directory], { timeout: 20_000 })
    rmSync(directory, { recursive: true, force: true })
  }
}

function ignore(): void {}
