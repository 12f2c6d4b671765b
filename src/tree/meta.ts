import type { Checkpoint, Group, Tag } from '../checkpoint/parse.ts'
import { numberOf } from '../checkpoint/values.ts'
import { describe, type EvidenceError, hex } from '../evidence/errors.ts'
import type { Extent } from '../evidence/extents.ts'
import { printable } from '../evidence/printable.ts'
import type { Memory } from '../guest/memory.ts'
import { planRaw } from '../views/raw.ts'

// Evidence is called by its file name alone here, so that these files do not depend on where it lies.

/** `meta/checkpoint.json`: the header, the groups and every tag, a line each. Offsets and sizes are in bytes, values in hexadecimal. */
export function checkpointJson(checkpoint: Checkpoint): string {
  const { file, magic, state, version, groups } = checkpoint
  const head = { file: file.name, size: file.size, magic: hex(magic), state, version, numgroups: groups.length }
  const members = Object.entries(head).map(([name, value]) => `  ${JSON.stringify(name)}: ${JSON.stringify(value)}`)
  return `{\n${members.join(',\n')},\n  "groups": ${list(groups, groupJson, '  ')}\n}\n`
}

/** `meta/memory-map.txt`: what each range of guest-physical addresses is, in the style of /proc/iomem (inclusive ends). */
export function memoryMapText(memory: Memory): string {
  const assumed = memory.assumption === undefined ? '' : `# assumed: ${memory.assumption}\n`
  const lines = planRaw(memory)
    .map((extent) => `${address(extent.start)}-${address(extent.end - 1)} : ${printable(kindText(extent))}\n`)
    .join('')
  return assumed + lines
}

/** `meta/memory-map.json`: the same for programs; `address`, `offset` and `size` are in bytes. */
export function memoryMapJson(memory: Memory): string {
  const { kind, file, offset, size } = memory.image
  const image = JSON.stringify({ kind, file: file.name, offset, size })
  const assumption = JSON.stringify(memory.assumption ?? null)
  return `{\n  "image": ${image},\n  "assumption": ${assumption},\n  "ranges": ${list(planRaw(memory), rangeJson, '  ')}\n}\n`
}

/** `meta/problems.txt`: a line for each; empty if there are none. */
export function problemsText(problems: readonly EvidenceError[]): string {
  return problems.map((problem) => `${describe(problem.finding, baseName(problem.finding.file))}\n`).join('')
}

function groupJson(group: Group): string {
  const { name, position, size, tags } = group
  const head = `{ "name": ${JSON.stringify(name)}, "position": ${position}, "size": ${size}`
  return `${head}, "tags": ${list(tags, tagJson, '    ')} }`
}

function tagJson(tag: Tag): string {
  const { name, indices, kind, offset, size } = tag
  const common = { name, indices, kind, offset, size }
  switch (tag.kind) {
    case 'inline': {
      const number = numberOf(tag)
      const value = number === undefined ? { bytes: Buffer.from(tag.bytes).toString('hex') } : { value: hex(number) }
      return JSON.stringify({ ...common, ...value })
    }
    case 'compressed':
      return JSON.stringify({ ...common, sizeInMemory: tag.sizeInMemory })
    case 'plain':
      return JSON.stringify(common)
  }
}

function rangeJson(extent: Extent): string {
  const range = { address: extent.start, size: extent.end - extent.start }
  switch (extent.kind) {
    case 'file':
      return JSON.stringify({ ...range, kind: 'memory', file: extent.file.name, offset: extent.offset })
    case 'zero':
      return JSON.stringify({ ...range, kind: 'hole' })
    case 'refused':
      return JSON.stringify({ ...range, kind: 'refused', why: whyText(extent.why) })
    case 'bytes':
      throw new Error('memory is never made of bytes of ours')
  }
}

function kindText(extent: Extent): string {
  switch (extent.kind) {
    case 'file':
      return `RAM, ${extent.file.name} from ${hex(extent.offset)}`
    case 'zero':
      return 'hole, zero by definition, no evidence'
    case 'refused':
      return `cannot be read, ${whyText(extent.why)}`
    case 'bytes':
      throw new Error('memory is never made of bytes of ours')
  }
}

function whyText(why: EvidenceError): string {
  return describe(why.finding, baseName(why.finding.file))
}

function list<T>(items: readonly T[], render: (item: T) => string, indent: string): string {
  return items.length === 0 ? '[]' : `[\n${items.map((item) => `${indent}  ${render(item)}`).join(',\n')}\n${indent}]`
}

function address(value: number): string {
  return value.toString(16).padStart(8, '0')
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
