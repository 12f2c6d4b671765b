/**
 * `vmssfs run`: a command on a mount that nobody else sees. Everything is seen from outside; nothing is imported from the
 * program. What is made, mounted or started lies below the directory of each test, so that it cannot stay unnoticed.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { PAGE, physmem, sha256, writeGuest } from './support/guest.ts'
import {
  cliPath,
  daemonsOf,
  eventually,
  type Finished,
  hasEnded,
  mountSkip,
  mountsAt,
  ORDINARY_ID,
  ordinaryDeviceSkip,
  ordinaryUserSkip,
  pattern,
  type Running,
  type RunOptions,
  run,
  runCommand,
  start,
  temporary,
  temporaryDirectory,
  toolSkip,
} from './support/mount.ts'

const TEST = { timeout: 120_000 }
const linuxSkip = process.platform !== 'linux' && 'there are no mount namespaces but on Linux'
const rootSkip = process.getuid?.() !== 0 && 'only root can do this'
const skip = linuxSkip || mountSkip || toolSkip('unshare')
const guest = skip ? '' : writeGuest(join(temporaryDirectory(), 'guest'))

/** Whoever tests, and an ordinary user, who needs a user namespace. */
const USERS = [
  { who: 'whoever tests', asOrdinaryUser: false, skip: false },
  {
    who: 'an ordinary user',
    asOrdinaryUser: true,
    skip: skip || ordinaryUserSkip || ordinaryDeviceSkip || whyNoUserNamespace(),
  },
] as const

describe('run', { skip }, () => {
  for (const { who, asOrdinaryUser, skip } of USERS) {
    describe(`by ${who}`, { skip }, () => {
      test('puts the mountpoint into the arguments and the environment', TEST, () =>
        place(async ({ folder, options }) => {
          const script = 'printf "%s\\n" "$VMSSFS" "$@"'
          const args = ['{}', '{}/physmem.raw', 'a{}b{}', '--', '--vmem', '$&', '{ }']
          const { stdout } = await succeed([], ['sh', '-c', script, 'sh', ...args], options)
          const [mountpoint = '', ...words] = stdout.trimEnd().split('\n')
          assert.ok(mountpoint.startsWith(`${folder}/`), mountpoint)
          const [raw, twice] = [`${mountpoint}/physmem.raw`, `a${mountpoint}b${mountpoint}`]
          assert.deepEqual(words, [mountpoint, raw, twice, '--', '--vmem', '$&', '{ }'])
        }, asOrdinaryUser),
      )

      test('reads what is in the mount', TEST, () =>
        place(async ({ options }) => {
          const { stdout } = await succeed([], ['sha256sum', '{}/physmem.raw'], options)
          assert.equal(stdout.slice(0, 64), sha256(physmem))
        }, asOrdinaryUser),
      )

      test('ends as the command does, and says nothing of its own', TEST, () =>
        place(async ({ options }) => {
          for (const [script, status] of [
            ['exit 7', 7],
            ['kill -TERM $$', 143],
            ['kill -KILL $$', 137],
          ] as const) {
            const finished = await onMount([], ['sh', '-c', `echo out; echo err >&2; ${script}`], options)
            assert.deepEqual([finished.status, finished.stdout, finished.stderr], [status, 'out\n', 'err\n'])
          }
        }, asOrdinaryUser),
      )

      test('is seen by nobody else, and leaves nothing', TEST, () =>
        place(async (here) => {
          const running = await underway(here, `${UNTIL_GO} cat "$VMSSFS/physmem.raw" | wc -c; exit 5`)
          const mountpoint = join(here.folder, only(readdirSync(here.folder)))
          assert.deepEqual(mountsAt(mountpoint), [])
          assert.equal((await run('ls', [mountpoint], here.options)).stdout, '')
          goOn(here)
          const { status, stdout, stderr } = await running.finished
          assert.deepEqual([status, stdout.trim(), stderr], [5, `${physmem.length}`, ''])
        }, asOrdinaryUser),
      )

      for (const [what, victim, signal, status, says] of [
        ['the process inside is killed', 'inside', 'SIGKILL', 137, /^vmssfs: .*\bSIGKILL\b.*\n$/],
        ['the process outside is killed', 'outside', 'SIGKILL', 'SIGKILL', /^$/],
        ['the process inside is told to end', 'inside', 'SIGTERM', 143, /^$/],
        ['the process outside is told to end', 'outside', 'SIGTERM', 143, /^$/],
        ['the process outside is hung up', 'outside', 'SIGHUP', 129, /^$/],
      ] as const) {
        test(`leaves nothing if ${what}`, TEST, () =>
          place(async (here) => {
            // With a child of its own, where both are to be killed.
            const tail = ': > "$0"; exec tail -f "$0"'
            const running = await underway(here, signal === 'SIGKILL' ? `(${tail}) & wait` : tail)
            const outside = running.child.pid as number
            const inside = only(daemonsOf(guest).filter((pid) => pid !== outside))
            process.kill(victim === 'inside' ? inside : outside, signal)
            const finished = await running.finished
            assert.equal(finished.status ?? finished.signal, status)
            assert.match(finished.stderr, says)
            await eventually('the process inside has ended', () => hasEnded(inside))
          }, asOrdinaryUser),
        )
      }

      test('lets go of a mount that the command has left in use', TEST, () =>
        place(async ({ options }) => {
          const script = 'exec 3< "$VMSSFS/physmem.raw"; sleep 60 > /dev/null 2>&1 & echo $!; exit 3'
          const { status, stdout, stderr } = await onMount([], ['sh', '-c', script], options)
          await endAfter(Number(stdout), () => {
            assert.equal(status, 3)
            assert.match(stderr, /^vmssfs: detached, though .*in use by \d+ \(\w+\)\n$/)
          })
        }, asOrdinaryUser),
      )

      test('ends as the command does though the mount lives on in a namespace below', TEST, () =>
        place(async ({ directory, options }) => {
          const below = 'exec 3< "$VMSSFS/physmem.raw"; : > "$0"; exec sleep 60 > /dev/null 2>&1'
          const script = 'unshare -m sh -c "$1" "$0" & echo $!; while [ ! -e "$0" ]; do sleep 0.02; done; exit 3'
          const words = ['sh', '-c', script, join(directory, 'ready'), below]
          const { status, stdout, stderr } = await onMount([], words, options)
          await endAfter(Number(stdout), () => assert.deepEqual([status, stderr], [3, '']))
        }, asOrdinaryUser),
      )
    })
  }

  test('leaves SIGINT and SIGQUIT to the command, which the terminal sends to it too', TEST, () =>
    place(async (here) => {
      const running = await underway(here, `${UNTIL_GO} cat "$VMSSFS/groups/cpu/rip[0]"`)
      for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
        for (const pid of daemonsOf(guest)) {
          process.kill(pid, signal)
        }
      }
      goOn(here)
      const { status, stdout, stderr } = await running.finished
      assert.deepEqual([status, stdout, stderr], [0, '0xfffff80002c1c0ba\n', ''])
    }),
  )

  test('gives the command standard input, and standard error as it was', TEST, () =>
    place(async ({ options }) => {
      const script = 'printf abc | "$@" 2>&1 | cat'
      const command = ['sh', '-c', 'cat; sed -n "s/^flags:[[:space:]]*//p" /proc/self/fdinfo/2 >&2']
      const words = [process.execPath, cliPath, 'run', guest, '--', ...command]
      const { stdout } = await run('sh', ['-c', script, 'sh', ...words], options)
      const [, flags = ''] = /^abc(\d+)\n$/.exec(stdout) ?? assert.fail(stdout)
      // A command does not expect EAGAIN from a pipe that it shares with us.
      const O_NONBLOCK = 0o4000
      assert.equal(Number.parseInt(flags, 8) & O_NONBLOCK, 0)
    }),
  )

  test('says what cannot be run: 127 if it is not there, otherwise 126', TEST, () =>
    place(async ({ directory, options }) => {
      const plain = join(directory, 'plain')
      writeFileSync(plain, '')
      for (const [program, status] of [
        ['no-such-program', 127],
        [join(directory, 'no-such-program'), 127],
        // The program is taken as it is: nothing in the mount can be executed.
        ['{}/physmem.raw', 127],
        [plain, 126],
        [directory, 126],
        [join(plain, 'below'), 126],
      ] as const) {
        const finished = await onMount([], [program, '{}'], options)
        assert.equal(finished.status, status, program)
        assert.match(finished.stderr, /^vmssfs: \S+: expected .*, found E[A-Z]+\n$/)
        assert.ok(finished.stderr.includes(program))
        assert.equal(finished.stdout, '')
      }
    }),
  )

  test('takes the options of the evidence and of the mount', TEST, () =>
    place(async ({ options }) => {
      const without = await succeed(['--no-memory'], ['ls', '{}'], options)
      assert.doesNotMatch(without.stdout, /physmem/)
      const args = ['--case', '2011-7', '--workers', '3', '--no-passthrough']
      const { stdout } = await succeed(args, ['cat', '{}/meta/provenance.json'], options)
      assert.equal(JSON.parse(stdout).case, '2011-7')
    }),
  )

  test('raises the read-ahead of the mount', { ...TEST, skip: rootSkip || toolSkip('mountpoint') }, () =>
    place(async ({ options }) => {
      const script = 'cat "/sys/class/bdi/$(mountpoint -d "$VMSSFS")/read_ahead_kb"'
      assert.equal((await succeed(['--read-ahead', '256'], ['sh', '-c', script], options)).stdout, '256\n')
    }),
  )

  const [major = 0, minor = 0] = release().split('.').map(Number)
  const oldSkip = (major < 6 || (major === 6 && minor < 9)) && `Linux ${release()} has no passthrough`

  test('has the kernel read the evidence by itself', { ...TEST, skip: rootSkip || oldSkip }, () =>
    place(async ({ directory, options }) => {
      const flat = join(directory, 'flat.vmem')
      const bytes = pattern(17, 256 * PAGE)
      writeFileSync(flat, bytes)
      // The parent of the command is who serves the mount, and would have read it all.
      const script = 'sha256sum < "$VMSSFS/physmem.raw"; sed -n "s/^rchar: //p" "/proc/$PPID/io"'
      const read = []
      for (const args of [[], ['--no-passthrough']]) {
        const finished = await runCommand(['run', ...args, flat, '--', 'sh', '-c', script], options)
        const [digest, rchar] = finished.stdout.split('\n')
        assert.equal(digest?.slice(0, 64), sha256(bytes), finished.stderr)
        read.push(Number(rchar))
      }
      const [less = 0, more = 0] = read
      assert.ok(more - less > bytes.length / 2, `${less} and ${more} bytes`)
    }),
  )
})

describe('run refuses', { skip: linuxSkip || toolSkip('unshare') }, () => {
  const evidence = guest || writeGuest(join(temporaryDirectory(), 'guest'))

  test('evidence as any command does, and starts nothing', { ...TEST, skip }, () =>
    place(async ({ directory, options }) => {
      const text = join(directory, 'text.vmss')
      writeFileSync(text, 'This is no checkpoint. '.repeat(9))
      for (const [args, status, says] of [
        [[text], 3, /text\.vmss/],
        [[join(directory, 'missing.vmss')], 3, /missing\.vmss/],
        [['--vmem', join(directory, 'missing.vmem'), evidence], 5, /missing\.vmem/],
        [['--workers', '0', evidence], 2, /--workers/],
        [['--workers', 'many', evidence], 2, /--workers/],
      ] as const) {
        const finished = await runCommand(['run', ...args, '--', 'touch', join(directory, 'started')], options)
        assertRefusal(finished, status, says)
      }
      assert.equal(existsSync(join(directory, 'started')), false)
    }),
  )

  test('to run nothing: 2', TEST, () =>
    place(async ({ options }) => {
      assertRefusal(await runCommand(['run', evidence], options), 2, /command/)
      assertRefusal(await runCommand(['run', evidence, '--'], options), 2, /command/)
    }),
  )

  test('where there can be no namespace: 9', TEST, () =>
    place(async (here) => {
      const forbidden = onlyProgram(
        here,
        'forbidden',
        'echo "unshare: unshare failed: Operation not permitted" >&2; exit 1',
      )
      assertRefusal(await onMount([], ['true'], forbidden, evidence), 9, /unshare failed: Operation not permitted/)
      const missing = { ...here.options, env: { ...here.options.env, PATH: here.directory } }
      assertRefusal(await onMount([], ['true'], missing, evidence), 9, /unshare/)
    }),
  )

  test('to mount in the namespace of everybody: 9', { ...TEST, skip }, () =>
    place(async (here) => {
      const options = onlyProgram(here, 'idle', 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
      const started = join(here.directory, 'started')
      assertRefusal(await onMount([], ['touch', started], options, evidence), 9, /namespace/, false)
      assert.equal(existsSync(started), false)
    }),
  )

  test('where no folder can be made: 9', TEST, () =>
    place(async (here) => {
      const options = { ...here.options, env: { TMPDIR: join(here.directory, 'missing') } }
      assertRefusal(await onMount([], ['true'], options, evidence), 9, /missing.*ENOENT/)
    }),
  )
})

/** Where one test takes place. */
interface Place {
  readonly directory: string
  /** Where temporary folders are made. */
  readonly folder: string
  readonly options: RunOptions
}

/** Runs the body with a directory of its own; in the end there must be no temporary folder, mount or process. */
function place(body: (place: Place) => Promise<void>, asOrdinaryUser = false): Promise<void> {
  return temporary(async (directory) => {
    // A name that means something to a shell, to a replacement and to the mount table.
    const folder = join(directory, 'tmp $& x')
    mkdirSync(folder)
    chmodSync(folder, 0o777)
    chmodSync(directory, 0o777)
    await body({ directory, folder, options: { env: { TMPDIR: folder }, asOrdinaryUser } })
    assert.deepEqual(readdirSync(folder), [])
  })
}

function onMount(args: readonly string[], command: readonly string[], options: RunOptions, evidence = guest) {
  return runCommand(['run', ...args, evidence, '--', ...command], options)
}

async function succeed(args: readonly string[], command: readonly string[], options: RunOptions): Promise<Finished> {
  const finished = await onMount(args, command, options)
  assert.deepEqual([finished.status, finished.stderr], [0, ''])
  return finished
}

/** The beginning of a script for {@link underway}, which ends when {@link goOn} is called. */
const UNTIL_GO = ': > "$0"; while [ -e "$0" ]; do sleep 0.02; done;'

/** Starts a shell on its mount, and waits until its script has made the file that `$0` names. */
async function underway({ directory, options }: Place, script: string): Promise<Running> {
  const ready = join(directory, 'ready')
  const running = start(process.execPath, [cliPath, 'run', guest, '--', 'sh', '-c', script, ready], options)
  await eventually('the command runs', () => existsSync(ready))
  return running
}

function goOn({ directory }: Place): void {
  rmSync(join(directory, 'ready'))
}

/** Ends a process that was left running, after the checks. */
async function endAfter(pid: number, check: () => void): Promise<void> {
  // 0 would be ourselves.
  assert.ok(pid > 0)
  try {
    assert.equal(hasEnded(pid), false)
    check()
  } finally {
    process.kill(pid, 'SIGKILL')
    await eventually('it has ended', () => hasEnded(pid))
  }
}

/** Options with an `unshare` of ours before the true one. */
function onlyProgram({ directory, options }: Place, name: string, script: string): RunOptions {
  const folder = join(directory, name)
  mkdirSync(folder)
  writeFileSync(join(folder, 'unshare'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return { ...options, env: { ...options.env, PATH: `${folder}:${process.env['PATH']}` } }
}

function assertRefusal({ status, stdout, stderr }: Finished, code: number, says: RegExp, hasHint?: boolean): void {
  assert.equal(status, code, stderr)
  assert.equal(stdout, '')
  assert.match(stderr, /^vmssfs: .+\n( {8}try: .+\n)?$/)
  assert.match(stderr, says)
  if (code === 9) {
    assert.equal(/try: /.test(stderr), hasHint ?? true, stderr)
  }
}

function only<T>(items: readonly T[]): T {
  const [item, ...others] = items
  assert.ok(item !== undefined && others.length === 0, `one, not ${items.length}`)
  return item
}

function whyNoUserNamespace(): string | false {
  const ids = [`--reuid=${ORDINARY_ID}`, `--regid=${ORDINARY_ID}`, '--clear-groups']
  const { status } = spawnSync('setpriv', [...ids, 'unshare', '--user', '--map-root-user', '--mount', 'true'])
  return status !== 0 && 'an ordinary user may make no user namespace here'
}
