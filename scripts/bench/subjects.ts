import { basename, dirname, extname } from 'node:path'
import { cliPath } from '../../test/support/mount.ts'
import type { Evidence } from './evidence.ts'

/** The name of the C server, which all others are measured against. */
export const LIMIT = 'limit'

/** Somebody who shows a file through FUSE. */
export interface Subject {
  readonly name: string
  /** Whether others have made it. */
  readonly isPeer: boolean
  /** Its command ends once the mount is there; without, it is the server. */
  readonly goesToBackground: boolean
  /** The command line that shows the evidence there, or undefined where the subject has nothing to show. */
  command(evidence: Evidence, mountpoint: string): string[] | undefined
  /** The file below the mountpoint that has the memory. */
  file(evidence: Evidence): string
}

/** All subjects in the order of the table; the path is that of the C server, if there is one. */
export function subjectsBeside(limit: string | undefined): Subject[] {
  return [
    ...(limit === undefined ? [] : [limitServer(limit)]),
    vmssfs('kernel', ['--transport', 'kernel', '--no-passthrough']),
    // Where there is no file for the kernel to read by itself, its mount is like any other.
    vmssfs('passthrough', ['--transport', 'kernel'], ({ isFlat }) => isFlat),
    vmssfs('fuse-native', ['--transport', 'fuse-native']),
    {
      name: 'bindfs',
      isPeer: true,
      goesToBackground: true,
      command: ({ image }, mountpoint) => image && ['bindfs', '-r', '--multithreaded', dirname(image.path), mountpoint],
      file: imageName,
    },
    {
      name: 'xmount',
      isPeer: true,
      goesToBackground: true,
      command: ({ image }, mountpoint) => image && ['xmount', '--in', 'raw', image.path, '--out', 'raw', mountpoint],
      file: (evidence) => `${basename(imageName(evidence), extname(imageName(evidence)))}.dd`,
    },
    {
      name: 'nbdfuse',
      isPeer: true,
      goesToBackground: false,
      command: ({ image }, mountpoint) =>
        image && ['nbdfuse', '-r', mountpoint, '[', 'nbdkit', '--exit-with-parent', '-r', 'file', image.path, ']'],
      file: () => 'nbd',
    },
  ]
}

function limitServer(program: string): Subject {
  return {
    name: LIMIT,
    isPeer: false,
    goesToBackground: false,
    command: ({ image }, mountpoint) => image && [program, image.path, `${image.offset}`, mountpoint],
    file: () => 'image.raw',
  }
}

function vmssfs(name: string, options: readonly string[], shows = (_evidence: Evidence) => true): Subject {
  return {
    name,
    isPeer: false,
    goesToBackground: true,
    command(evidence, mountpoint) {
      return shows(evidence)
        ? [process.execPath, cliPath, 'mount', ...options, evidence.checkpoint, mountpoint]
        : undefined
    },
    file: ({ image }) => (image === undefined ? 'meta/checkpoint.json' : 'physmem.raw'),
  }
}

function imageName({ image }: Evidence): string {
  return basename(image?.path ?? '')
}
