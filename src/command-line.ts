import { Command, CommanderError, Option } from 'commander'
import { UsageError } from './commands/errors.ts'
import type { EvidenceArguments } from './commands/evidence.ts'
import type { HashArguments } from './commands/hash.ts'
import type { InfoArguments } from './commands/info.ts'
import type { ListArguments } from './commands/ls.ts'
import type { MountArguments } from './commands/mount.ts'
import type { RunArguments } from './commands/run/inside.ts'
import type { TagArguments } from './commands/tags.ts'

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

/** An evidence command that mounts, with the options of how the mount is served. */
function mountingCommand(name: string, description: string, options: { isDefault?: boolean } = {}): Command {
  return evidenceCommand(name, description, options)
    .option('--workers <count>', 'threads that serve the kernel transport (default: one for each processor, 2 to 6)')
    .option('--read-ahead <KiB>', 'how far the kernel reads ahead, where root mounts')
    .option('--no-passthrough', 'do not let the kernel read the memory from the evidence by itself')
}

mountingCommand('mount', 'mount a checkpoint and its memory', { isDefault: true })
  .argument('<mountpoint>', 'an empty folder')
  .option('-f, --foreground', 'stay in the foreground until unmounted')
  .option('-o, --option <list>', 'allow_other,allow_root,default_permissions,uid=,gid=,umask=,fsname=', collect)
  .addOption(
    new Option('--transport <name>', 'how the kernel asks us')
      .choices(['auto', 'kernel', 'fuse-native'])
      .default('auto'),
  )
  .option('--log-file <file>', 'append what is said, with the time, to this file')
  .action(async (evidence: string, mountpoint: string, options: MountArguments) => {
    if (options.foreground) {
      const { mountCheckpoint } = await import('./commands/mount.ts')
      await mountCheckpoint(evidence, mountpoint, options)
    } else {
      const { mountInBackground } = await import('./commands/background.ts')
      process.exitCode = await mountInBackground(process.argv.slice(2))
    }
  })

mountingCommand('run', 'run a command on a mount that nobody else sees, and leave nothing')
  .usage('[options] <evidence> -- <command...>')
  .argument('<command...>', 'the command; {} in its arguments is the mountpoint, and so is $VMSSFS')
  .addOption(new Option('--inside <folder>', 'mount on it, in a namespace that is there already').hideHelp())
  .action(async (evidence: string, command: string[], options: RunArguments) => {
    if (options.inside === undefined) {
      const { runOutside } = await import('./commands/run/outside.ts')
      process.exitCode = await runOutside()
    } else {
      const { runInside } = await import('./commands/run/inside.ts')
      process.exitCode = await runInside(evidence, command, options.inside, options)
    }
  })

evidenceCommand('info', 'say what is in the evidence: product, guest, memory, vCPUs, problems')
  .option('--json', 'as JSON')
  .action(async (evidence: string, options: InfoArguments) => {
    const { showInfo } = await import('./commands/info.ts')
    await showInfo(evidence, options)
  })

evidenceCommand('tags', 'list every tag with the offset, size and value of its data')
  .argument('[glob...]', "patterns for group/tag[indices], such as 'cpu/*'")
  .option('--hexdump', 'with the bytes of each tag of more than 8')
  .option('--limit <bytes>', 'dump only so many of each')
  .option('--json', 'as JSON')
  .option('--csv', 'as CSV (RFC 4180)')
  .action(async (evidence: string, globs: string[], options: TagArguments) => {
    const { listTags } = await import('./commands/tags.ts')
    await listTags(evidence, globs, options)
  })

evidenceCommand('ls', 'list a folder of the tree without mounting it')
  .argument('[path]', "a path, or a pattern such as 'groups/cpu/*'", '/')
  .option('-l, --long', 'with modes, sizes and times')
  .option('-R, --recursive', 'with all that is below, a path a line')
  .option('--json', 'as JSON')
  .action(async (evidence: string, path: string, options: ListArguments) => {
    const { listTree } = await import('./commands/ls.ts')
    await listTree(evidence, path, options)
  })

evidenceCommand('cat', 'write files of the tree to standard output')
  .argument('<path...>', 'paths or patterns')
  .action(async (evidence: string, paths: string[], options: EvidenceArguments) => {
    const { catFiles } = await import('./commands/cat.ts')
    await catFiles(evidence, paths, options)
  })

evidenceCommand('extract', 'copy a file or a folder of the tree to a new one, sparse where it is a hole')
  .argument('<path>', 'a path; / is everything')
  .argument('<output>', 'what does not exist yet')
  .action(async (evidence: string, path: string, output: string, options: EvidenceArguments) => {
    const { extract } = await import('./commands/extract.ts')
    await extract(evidence, path, output, options)
  })

evidenceCommand('hash', 'print MD5, SHA-1 and SHA-256 of files of the tree, or check them')
  .argument('[path...]', 'paths, folders or patterns (default: physmem.raw)')
  .option('--only <algorithm>', 'just one of md5, sha1, sha256')
  .option('--sums <algorithm>', 'just one, in lines that md5sum, sha1sum or sha256sum can check')
  .option('--check <file>', 'check such lines')
  .action(async (evidence: string, paths: string[], options: HashArguments) => {
    const { hashFiles } = await import('./commands/hash.ts')
    await hashFiles(evidence, paths, options)
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

/**
 * Does what the command line says. Resolves to the exit code.
 *
 * @throws what commands/report.ts knows how to say
 */
export async function obey(): Promise<number> {
  try {
    await program.parseAsync()
    return Number(process.exitCode ?? 0)
  } catch (error) {
    if (!(error instanceof CommanderError)) {
      throw error
    }
    if (error.exitCode === 0) {
      // Help, which has been printed.
      return 0
    }
    throw new UsageError(error.message.replace(/^error: /, ''))
  }
}
