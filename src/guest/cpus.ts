import { type Checkpoint, findTag, type Tag } from '../checkpoint/parse.ts'
import { numberOf } from '../checkpoint/values.ts'
import type { EvidenceError } from '../evidence/errors.ts'
import { CpuTags } from './cpu-tags.ts'

/** The names of the segment registers, in the order of the indices of the tags `S`. */
export const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'] as const
export type SegmentName = (typeof SEGMENTS)[number]

/** General registers, in the order of the words of `gpregs`: that of x86's encoding, as measured on genuine files. */
const GENERAL = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ')

/** Words of `syscallMSR`, and the numbers of the MSRs that they are. */
const SYSCALL_MSRS = [
  ['star', 0xc000_0081],
  ['lstar', 0xc000_0082],
  ['cstar', 0xc000_0083],
  ['fmask', 0xc000_0084],
] as const

/** Other registers that have a tag of their own, and are an MSR of that number where they are one. */
const NAMED = [
  ['efer', 'EFER', 0xc000_0080],
  ['kernelGsBase', 'KERNELGSBASE', 0xc000_0102],
  ['pat', 'PAT', 0x277],
  ['xcr0', 'XCR0', undefined],
  ['sysenterCs', 'sysEnterCS', 0x174],
  ['sysenterEsp', 'sysEnterESP', 0x175],
  ['sysenterEip', 'sysEnterEIP', 0x176],
] as const

const CONTROL_COUNT = 9
const DEBUG_COUNT = 8
const GENERAL_SIZE = 8 * GENERAL.length

/** More virtual CPUs than any product of VMware gives a machine; a tag that names a higher one is damage. */
const MAX_CPUS = 4096

/** A segment register, or what is known of it. */
export interface Segment {
  readonly selector?: number
  readonly base?: bigint
  readonly limit?: number
  /** The access rights of its descriptor, as VMware keeps them: bits 8 to 15 are its type and flags. */
  readonly rights?: number
}

/** A descriptor table register. */
export interface Table {
  readonly base: bigint
  readonly limit: number
}

/** A virtual CPU as the checkpoint keeps it. Whatever it does not keep is not there. */
export interface Cpu {
  readonly number: number
  /** By name: rax to r15, rip, rflags, cr0 to cr8, dr0 to dr7, efer, star and so on; on ARM64 by VMware's own `hv:` names. */
  readonly registers: ReadonlyMap<string, bigint>
  readonly segments: ReadonlyMap<SegmentName, Segment>
  readonly gdtr: Table | undefined
  readonly idtr: Table | undefined
  /** Those that the checkpoint keeps by number. */
  readonly msrs: ReadonlyMap<number, bigint>
  /** Whether it waits for an interrupt. */
  readonly halted: boolean | undefined
}

/**
 * Reads the registers of every virtual CPU from the group `cpu`. Two generations of tags exist, one item a register (ESX 4.1)
 * and blocks (Player 12 and later), and every tag is optional.
 */
export function readCpus(checkpoint: Checkpoint): { cpus: readonly Cpu[]; problems: readonly EvidenceError[] } {
  const tags = new CpuTags(checkpoint)
  const count = countOf(checkpoint)
  const limit = count ?? MAX_CPUS
  const numbers = tags.cpus()
  const cpus = numbers.filter((number) => number < limit).map((number) => readCpu(tags, number))
  const beyond = numbers.find((number) => number >= limit)
  if (beyond !== undefined) {
    tags.report(`tags of vCPUs below ${limit}`, `those of vCPU ${beyond}`)
  }
  if (count !== undefined && cpus.length < count && cpus.length > 0) {
    tags.report(`registers of ${count} vCPUs, as cpu:numVCPUs says`, `those of ${cpus.length}`)
  }
  return { cpus, problems: tags.problems }
}

function countOf(checkpoint: Checkpoint): number | undefined {
  const tag: Tag | undefined = findTag(checkpoint, 'cpu', 'cpu:numVCPUs')
  const count = tag && numberOf(tag)
  return count === undefined ? undefined : Math.min(Number(count), MAX_CPUS)
}

function readCpu(tags: CpuTags, cpu: number): Cpu {
  const registers = new Map<string, bigint>()
  const set = (name: string, value: bigint | undefined) => {
    if (value !== undefined) {
      registers.set(name, value)
    }
  }
  for (const [word, name] of GENERAL.entries()) {
    // The 32-bit names are those of the low halves: eax, but not r8.
    const half = name.startsWith('r') && !/\d/.test(name) ? tags.number(`e${name.slice(1)}`, cpu) : undefined
    set(name, tags.number(name, cpu) ?? tags.word('gpregs', cpu, word, GENERAL_SIZE) ?? half)
  }
  set('rip', tags.number('rip', cpu) ?? tags.number('eip', cpu))
  set('rflags', rflags(tags.number('eflags', cpu), tags.number('EFLAGS', cpu)))
  for (const [letters, count] of [
    ['CR', CONTROL_COUNT],
    ['DR', DEBUG_COUNT],
  ] as const) {
    for (let n = 0; n < count; n++) {
      const wide = tags.word(`${letters}64`, cpu, n, 8 * count) ?? tags.number(`${letters}64`, cpu, n)
      set(`${letters.toLowerCase()}${n}`, wide ?? tags.number(letters, cpu, n))
    }
  }
  for (const [name, tag, msr] of NAMED) {
    set(name, tags.number(tag, cpu) ?? (msr === undefined ? undefined : tags.number('MSR', cpu, msr)))
  }
  for (const [word, [name, msr]] of SYSCALL_MSRS.entries()) {
    set(name, tags.word('syscallMSR', cpu, word, 8 * SYSCALL_MSRS.length) ?? tags.number('MSR', cpu, msr))
  }
  for (const [name, value] of tags.hypervisorValues(cpu)) {
    set(name, value)
  }
  const halted = tags.number('halted', cpu)
  return {
    number: cpu,
    registers,
    segments: segmentsOf(tags, cpu),
    gdtr: tableOf(tags, 'GDTR', cpu),
    idtr: tableOf(tags, 'IDTR', cpu),
    msrs: tags.msrs(cpu),
    halted: halted === undefined ? undefined : halted !== 0n,
  }
}

/** The checkpoint keeps two halves: the arithmetic flags in one, those of the system in the other. */
function rflags(arithmetic: bigint | undefined, system: bigint | undefined): bigint | undefined {
  return arithmetic === undefined ? system : arithmetic | (system ?? 0n)
}

function segmentsOf(tags: CpuTags, cpu: number): Map<SegmentName, Segment> {
  const segments = new Map<SegmentName, Segment>()
  for (const [s, name] of SEGMENTS.entries()) {
    const selector = tags.number('S', cpu, s)
    const base = tags.number('S.base64', cpu, s) ?? tags.number('S.base', cpu, s)
    const limit = tags.number('S.limit', cpu, s)
    const rights = tags.number('S.rights', cpu, s)
    const segment = {
      // Selectors have 16 bits; the tag is wider.
      ...(selector === undefined ? {} : { selector: Number(selector & 0xffffn) }),
      ...(base === undefined ? {} : { base }),
      ...(limit === undefined ? {} : { limit: Number(limit & 0xffff_ffffn) }),
      ...(rights === undefined ? {} : { rights: Number(rights & 0xffff_ffffn) }),
    }
    if (Object.keys(segment).length > 0) {
      segments.set(name, segment)
    }
  }
  return segments
}

/** A block of a 16-bit limit and a 64-bit base, or three items: the limit and the halves of the base. */
function tableOf(tags: CpuTags, name: string, cpu: number): Table | undefined {
  const block = tags.block(name, cpu, 10)
  if (block !== undefined) {
    return { limit: block.readUInt16LE(0), base: block.readBigUInt64LE(2) }
  }
  const [limit, low, high] = [0, 1, 2].map((k) => tags.number(name, cpu, k))
  return limit === undefined || low === undefined
    ? undefined
    : { limit: Number(limit & 0xffffn), base: (low & 0xffff_ffffn) | ((high ?? 0n) << 32n) }
}
