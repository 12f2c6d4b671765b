import type { Checkpoint, Tag } from '../checkpoint/parse.ts'
import { numberOf } from '../checkpoint/values.ts'
import { EvidenceError, hex } from '../evidence/errors.ts'
import { compose, type Extents, rangeOf } from '../evidence/extents.ts'
import type { EvidenceFile } from '../evidence/file.ts'
import type { Cpu } from '../guest/cpus.ts'
import type { Guest } from '../guest/guest.ts'
import type { Memory } from '../guest/memory.ts'
import { MAX_ELF_REGIONS, planElf } from '../views/elf.ts'
import { planLime } from '../views/lime.ts'
import { planRaw } from '../views/raw.ts'
import { checkpointJson, memoryMapJson, memoryMapText, problemsText } from './meta.ts'
import { entryName, UniqueNames } from './names.ts'
import { type Directory, File, type Link, lookup, type Node, type Origin } from './node.ts'
import { type Provenance, provenanceJson } from './provenance.ts'
import { recipesText } from './recipes.ts'
import { registersJson, registersText } from './registers.ts'

/**
 * Which paths the mount of a guest has; the only place that spells one. A path exists only if the evidence has it. The same
 * evidence gives the same paths, order, inode numbers and bytes every time, but for the record of who looked at it and when,
 * which is there if `provenance` is given.
 */
export function planTree(guest: Guest, provenance?: Provenance): Directory {
  const { checkpoint, memory, screenshot } = guest
  const planner = new Planner((guest.evidence[0] as EvidenceFile).mtime)
  const root = planner.directory()
  if (memory !== undefined && memory.regions.length > 0) {
    const { mtime } = memory.image.file
    root.entries.set(
      'physmem.raw',
      planner.file(() => planRaw(memory), mtime),
    )
    if (memory.regions.length <= MAX_ELF_REGIONS) {
      root.entries.set(
        'physmem.elf',
        planner.file(() => planElf(memory, guest.cpus, guest.architecture), mtime),
      )
    }
    root.entries.set(
      'physmem.lime',
      planner.file(() => planLime(memory), mtime),
    )
  }
  if (checkpoint !== undefined) {
    const { groups, raw } = planGroups(checkpoint, planner)
    if (screenshot !== undefined) {
      root.entries.set(
        'screenshot.png',
        planner.file(() => exactBytes(checkpoint.file, screenshot)),
      )
    }
    if (lookup(groups, 'Snapshot/cfgFile') !== undefined) {
      root.entries.set('config.vmx', planner.link('groups/Snapshot/cfgFile'))
    }
    if (groups.entries.has('Snapshot')) {
      root.entries.set('Snapshot', planner.link('groups/Snapshot'))
    }
    root.entries.set('groups', groups)
    root.entries.set('raw', raw)
  }
  if (guest.cpus.length > 0) {
    root.entries.set('cpu', planCpus(guest.cpus, planner))
  }
  root.entries.set('meta', planMeta(guest, planner, provenance))
  return root
}

/** `groups/`, for reading, and `raw/`, for programs: the same names with the values of all tags. */
function planGroups(checkpoint: Checkpoint, planner: Planner): { groups: Growing; raw: Growing } {
  const { file } = checkpoint
  const [groups, raw] = [planner.directory(), planner.directory()]
  const groupNames = new UniqueNames()
  for (const group of checkpoint.groups) {
    const groupName = groupNames.take(entryName(group.name))
    const [readable, exact] = [planner.directory(), planner.directory()]
    groups.entries.set(groupName, readable)
    raw.entries.set(groupName, exact)
    const tagNames = new UniqueNames()
    for (const tag of group.tags) {
      const name = tagNames.take(entryName(tag.name, tag.indices))
      readable.entries.set(
        name,
        planner.file(() => readableBytes(file, tag), undefined, tag),
      )
      exact.entries.set(
        name,
        planner.file(() => exactBytes(file, tag), undefined, tag),
      )
    }
  }
  return { groups, raw }
}

/** `cpu/<n>/`, the registers of each virtual CPU. */
function planCpus(cpus: readonly Cpu[], planner: Planner): Directory {
  const directory = planner.directory()
  for (const cpu of cpus) {
    const files = planner.directory()
    files.entries.set(
      'registers.txt',
      planner.text(() => registersText(cpu)),
    )
    files.entries.set(
      'registers.json',
      planner.text(() => registersJson(cpu)),
    )
    directory.entries.set(`${cpu.number}`, files)
  }
  return directory
}

/** `meta/`, what we have to say of the evidence ourselves. */
function planMeta(guest: Guest, planner: Planner, provenance: Provenance | undefined): Directory {
  const { checkpoint, memory } = guest
  const problems = [...guest.problems, ...tooManyRegions(memory)]
  const meta = planner.directory()
  if (checkpoint !== undefined) {
    meta.entries.set(
      'checkpoint.json',
      planner.text(() => checkpointJson(checkpoint)),
    )
  }
  if (memory !== undefined) {
    meta.entries.set(
      'memory-map.txt',
      planner.text(() => memoryMapText(memory)),
    )
    meta.entries.set(
      'memory-map.json',
      planner.text(() => memoryMapJson(memory)),
    )
    meta.entries.set(
      'recipes.txt',
      planner.text(() => recipesText(memory)),
    )
  }
  meta.entries.set(
    'problems.txt',
    planner.text(() => problemsText(problems)),
  )
  if (provenance !== undefined) {
    meta.entries.set(
      'provenance.json',
      planner.text(() => provenanceJson(guest, provenance)),
    )
  }
  return meta
}

/** Why there is no physmem.elf, if that is so. */
function tooManyRegions(memory: Memory | undefined): EvidenceError[] {
  if (memory === undefined || memory.regions.length <= MAX_ELF_REGIONS) {
    return []
  }
  const expected = `at most ${MAX_ELF_REGIONS} regions for physmem.elf`
  const found = `${memory.regions.length}: it is left out`
  return [new EvidenceError({ code: 'unsupported', file: memory.image.file.path, expected, found })]
}

/** A directory that is still being filled. */
type Growing = Directory & { readonly entries: Map<string, Node> }

/** Makes nodes, and numbers them from 1, the root, in the order in which they are made. */
class Planner {
  readonly #mtime: Date
  #inode = 1

  constructor(mtime: Date) {
    this.#mtime = mtime
  }

  directory(): Growing {
    return { kind: 'directory', inode: this.#inode++, mtime: this.#mtime, entries: new Map() }
  }

  file(plan: () => Extents, mtime = this.#mtime, origin?: Origin): File {
    return new File(this.#inode++, mtime, plan, origin)
  }

  text(render: () => string): File {
    return this.file(() => textBytes(render()))
  }

  link(target: string): Link {
    return { kind: 'link', inode: this.#inode++, mtime: this.#mtime, target }
  }
}

/** The bytes of a value as they lie in the evidence. */
function exactBytes(file: EvidenceFile, tag: Tag): Extents {
  return compose(rangeOf(file, tag.offset, tag.size))
}

/** A value for reading: a number where it is one, otherwise its bytes, which for a compressed block nobody can tell. */
function readableBytes(file: EvidenceFile, tag: Tag): Extents {
  const number = numberOf(tag)
  if (number !== undefined) {
    return textBytes(`${hex(number)}\n`)
  }
  if (tag.kind !== 'compressed') {
    return exactBytes(file, tag)
  }
  const why = new EvidenceError({
    code: 'unsupported',
    file: file.path,
    offset: tag.offset,
    expected: 'a plain block',
    found: `a compressed one of ${tag.size} bytes, in a container that is not publicly known`,
  })
  return compose([{ kind: 'refused', why, size: tag.sizeInMemory }])
}

function textBytes(text: string): Extents {
  const bytes = Buffer.from(text)
  return compose([{ kind: 'bytes', bytes, size: bytes.length }])
}
