#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { UsageError } from './commands/errors.ts'
import type { MountArguments } from './commands/mount.ts'
import { EvidenceError, type EvidenceErrorCode } from './evidence/errors.ts'
import { printable } from './evidence/printable.ts'
import { MountError } from './fuse/errors.ts'

const [DONE, BUG, USAGE, MOUNT_FAILED] = [0, 1, 2, 9]

/** Exit codes are part of the contract: README, "Exit codes". */
const EVIDENCE_EXIT_CODES: Record<EvidenceErrorCode, number> = {
  ambiguous: USAGE,
  'not-a-checkpoint': 3,
  unreadable: 3,
  damaged: 3,
  absent: 4,
  'companion-missing': 5,
  truncated: 6,
  changed: 6,
  encrypted: 7,
  unsupported: 8,
}

// Each command loads what it needs when it is called: the process that only starts a daemon should not parse the rest.
const program = new Command('vmssfs')
  .description('Mounts VMware suspended states and snapshots as a read-only filesystem.')
  .exitOverride()
  .configureOutput({ outputError: () => undefined })

/** A command that takes evidence, with the options that every one of them has. */
function evidenceCommand(name: string, description: string, options: { isDefault?: boolean } = {}): Command {
  return program
    .command(name, options)
    .description(description)
    .argument('<evidence>', 'a .vmss, .vmsn, .vmem, .vmx or .vmsd file, or the folder of a machine')
    .option('--vmem <file>', 'the file with the memory, where it is not found by its name')
    .option('--no-memory', 'do without the memory')
    .option('--snapshot <name>', 'the name, uid or file of the snapshot, where there are several')
    .option('--flat', 'memory without a checkpoint lies flat, whatever its size')
    .option('--case <text>', 'put on record in meta/provenance.json, as are:')
    .option('--examiner <text>')
    .option('--evidence-id <text>')
    .option('--note <text>')
}

evidenceCommand('mount', 'mount a checkpoint and its memory', { isDefault: true })
  .argument('<mountpoint>', 'an empty folder')
  .option('-f, --foreground', 'stay in the foreground until unmounted')
  .option('-o, --option <list>', 'allow_other,allow_root,default_permissions,uid=,gid=,umask=,fsname=', collect)
  .action(async (evidence: string, mountpoint: string, options: MountArguments) => {
    if (options.foreground) {
      const { mountCheckpoint } = await import('./commands/mount.ts')
      await mountCheckpoint(evidence, mountpoint, options)
    } else {
      const { mountInBackground } = await import('./commands/background.ts')
      process.exitCode = await mountInBackground(evidence, mountpoint)
    }
  })

program
  .command('unmount')
  .description('unmount a checkpoint, or clear what is left of a mount whose daemon was killed')
  .argument('<mountpoint>')
  .action(async (mountpoint: string) => {
    const { unmountCheckpoint } = await import('./commands/unmount.ts')
    await unmountCheckpoint(mountpoint)
  })

function collect(list: string, lists: string[] = []): string[] {
  return [...lists, list]
}

/** Says what went wrong and returns the exit code. Only a bug shows a stack. */
function report(error: unknown): number {
  if (error instanceof EvidenceError) {
    return complain(EVIDENCE_EXIT_CODES[error.code], error.message, error.hint, error.finding.choices)
  }
  if (error instanceof MountError) {
    return complain(MOUNT_FAILED, printable(error.message), error.hint)
  }
  if (error instanceof UsageError) {
    return complain(USAGE, printable(error.message), 'vmssfs --help')
  }
  if (error instanceof CommanderError) {
    // Help and its like are no errors, and have been printed.
    return error.exitCode === 0
      ? DONE
      : complain(USAGE, printable(error.message.replace(/^error: /, '')), 'vmssfs --help')
  }
  process.stderr.write(`vmssfs: a bug: ${error instanceof Error ? error.stack : error}\n`)
  return BUG
}

function complain(code: number, message: string, hint?: string, choices: readonly string[] = []): number {
  const lines = [`vmssfs: ${message}`, ...choices.map((choice) => `        ${printable(choice)}`)]
  if (hint !== undefined) {
    lines.push(`        try: ${printable(hint)}`)
  }
  process.stderr.write(`${lines.join('\n')}\n`)
  return code
}

// A daemon outlives the process that reads its standard error.
process.stderr.on('error', () => undefined)
try {
  await program.parseAsync()
  process.exit()
} catch (error) {
  process.exit(report(error))
}
