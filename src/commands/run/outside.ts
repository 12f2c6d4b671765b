import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MountError } from '../../fuse/errors.ts'
import { InterruptedError } from '../errors.ts'
import { removeFolder } from './folder.ts'
import { endNamespace, unshareCommand } from './namespace.ts'
import { leaveTerminalSignals, passSignalsTo } from './signals.ts'

/** What the process inside tells: where it runs the command, before it does, and the exit status of the command in the end. */
export type InsideMessage = { readonly namespace: string } | { readonly status: number }

/**
 * Runs a command on a mount that nobody else sees: starts this command line again in a mount namespace of its own, where
 * `runInside` mounts, runs the command and unmounts. If one of the two processes is killed, the other one ends the command
 * and removes the folder. Resolves to the exit code, which is the command's if there was one.
 *
 * @throws MountError if there can be no such namespace, or no folder to mount on; InterruptedError if a signal ended the
 * process inside.
 */
export async function runOutside(): Promise<number> {
  const unshare = unshareCommand()
  let inside: ChildProcess | undefined
  // Before there is a folder, so that no signal leaves it behind.
  leaveTerminalSignals()
  passSignalsTo(() => inside)
  const folder = makeFolder()
  try {
    inside = startInside(unshare, folder)
    return await statusOf(inside)
  } finally {
    removeFolder(folder)
  }
}

function makeFolder(): string {
  try {
    return mkdtempSync(join(tmpdir(), 'vmssfs-'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new MountError(
      `${tmpdir()}: expected that a folder to mount on can be made there, found ${code}`,
      'set TMPDIR to a folder that you may write to',
    )
  }
}

function startInside([unshare, ...options]: readonly [string, ...string[]], folder: string): ChildProcess {
  const [node, command, run, ...rest] = process.argv as [string, string, string, ...string[]]
  const args = [...options, '--', node, ...process.execArgv, command, run, '--inside', folder, ...rest]
  return spawn(unshare, args, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })
}

async function statusOf(inside: ChildProcess): Promise<number> {
  let namespace: string | undefined
  let status: number | undefined
  inside.on('message', (message: InsideMessage) => {
    if ('namespace' in message) {
      namespace = message.namespace
    } else {
      status = message.status
    }
  })
  // The channel is closed by then, so all that was told has been heard.
  const [code, signal] = (await once(inside, 'close')) as [number | null, NodeJS.Signals | null]
  // However the process ends after it has told the status: a mount that lives on in a namespace below leaves it SIGKILL only.
  if (status !== undefined) {
    return status
  }
  if (signal === null) {
    return code as number
  }
  if (namespace === undefined) {
    throw new InterruptedError(signal, `ended by ${signal}`)
  }
  endNamespace(namespace)
  throw new InterruptedError(signal, `what served the mount was ended by ${signal}, and so was the command`)
}
