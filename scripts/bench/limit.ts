import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** A C server on libfuse 3 that does as little as one can: the source may be named by VMSSFS_LIMIT. */
const SOURCE = process.env['VMSSFS_LIMIT'] ?? '../shared/bench/limit.c'

/** Compiles the server that all others are measured against, and returns its path, or why there is none. */
export function buildLimit(directory: string): { program: string } | { why: string } {
  if (!existsSync(SOURCE)) {
    return { why: `${SOURCE}: expected the source of the C server, found nothing\nname it in VMSSFS_LIMIT` }
  }
  const flags = spawnSync('pkg-config', ['--cflags', '--libs', 'fuse3'], { encoding: 'utf8' })
  if (flags.status !== 0) {
    return {
      why: 'pkg-config: expected that it knows fuse3, found that it does not\ninstall libfuse3-dev and pkg-config',
    }
  }
  const program = join(directory, 'limit')
  const options = flags.stdout.split(/\s+/).filter((word) => word !== '')
  const compiled = spawnSync('cc', ['-O2', '-o', program, SOURCE, ...options], { encoding: 'utf8' })
  return compiled.status === 0
    ? { program }
    : {
        why: `cc: expected that it compiles ${SOURCE}, found ${compiled.error?.message ?? compiled.stderr.split('\n')[0]}`,
      }
}
