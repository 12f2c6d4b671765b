import type { Cpu, Segment, SegmentName, Table } from '../guest/cpus.ts'
import { isLongMode } from '../guest/mode.ts'
import { NHDR, PRSTATUS_32, PRSTATUS_64, QEMU_CPU_STATE, QEMU_SEGMENT } from './elf-layout.ts'

const NT_PRSTATUS = 1
const QEMU_NOTE_TYPE = 0
const QEMU_STATE_VERSION = 1
const NOTE_ALIGNMENT = 4
const NONE = new Uint8Array(0)

/** Registers that the status and the state of a vCPU have under their own names. */
// biome-ignore format: a list of names
const STATUS_REGISTERS = [
  'rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip',
] as const
const STATE_REGISTERS = [...STATUS_REGISTERS, 'rflags', 'cr0', 'cr1', 'cr2', 'cr3', 'cr4'] as const

/**
 * The notes of the virtual CPUs: first the status of each, by which debuggers know its registers, then QEMU's state of each, by
 * which crash and elf2dmp find the page tables and the kernel. A register that the checkpoint does not keep is 0 in them.
 */
export function encodeNotes(cpus: readonly Cpu[]): Buffer {
  const status = (cpu: Cpu) => (isLongMode(cpu) ? prstatus64(cpu) : prstatus32(cpu))
  return Buffer.concat([
    ...cpus.map((cpu) => note('CORE', NT_PRSTATUS, status(cpu))),
    ...cpus.map((cpu) => note('QEMU', QEMU_NOTE_TYPE, cpuState(cpu))),
  ])
}

function note(name: string, type: number, content: Buffer): Buffer {
  const terminated = Buffer.from(`${name}\0`)
  const header = NHDR.encode({ n_namesz: terminated.length, n_descsz: content.length, n_type: type })
  return Buffer.concat([header, padded(terminated), padded(content)])
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes], Math.ceil(bytes.length / NOTE_ALIGNMENT) * NOTE_ALIGNMENT)
}

/** Reads registers as the notes want them: none is missing. */
class Registers {
  readonly #cpu: Cpu

  constructor(cpu: Cpu) {
    this.#cpu = cpu
  }

  wide(name: string): bigint {
    return this.#cpu.registers.get(name) ?? 0n
  }

  all<Name extends string>(names: readonly Name[]): Record<Name, bigint> {
    return Object.fromEntries(names.map((name) => [name, this.wide(name)])) as Record<Name, bigint>
  }

  /** The low half. */
  low(name: string): number {
    return Number(BigInt.asUintN(32, this.wide(name)))
  }

  selector(name: SegmentName): number {
    return this.#cpu.segments.get(name)?.selector ?? 0
  }

  base(name: SegmentName): bigint {
    return this.#cpu.segments.get(name)?.base ?? 0n
  }
}

function prstatus64(cpu: Cpu): Buffer {
  const of = new Registers(cpu)
  return PRSTATUS_64.encode({
    ...of.all(STATUS_REGISTERS),
    pad1: NONE,
    pr_pid: cpu.number + 1,
    pad2: NONE,
    orig_rax: 0n,
    cs: BigInt(of.selector('cs')),
    eflags: of.wide('rflags'),
    ss: BigInt(of.selector('ss')),
    fs_base: of.base('fs'),
    gs_base: of.base('gs'),
    ds: BigInt(of.selector('ds')),
    es: BigInt(of.selector('es')),
    fs: BigInt(of.selector('fs')),
    gs: BigInt(of.selector('gs')),
    pad3: NONE,
  })
}

function prstatus32(cpu: Cpu): Buffer {
  const of = new Registers(cpu)
  return PRSTATUS_32.encode({
    pad1: NONE,
    pr_pid: cpu.number + 1,
    pad2: NONE,
    ebx: of.low('rbx'),
    ecx: of.low('rcx'),
    edx: of.low('rdx'),
    esi: of.low('rsi'),
    edi: of.low('rdi'),
    ebp: of.low('rbp'),
    eax: of.low('rax'),
    ds: of.selector('ds'),
    es: of.selector('es'),
    fs: of.selector('fs'),
    gs: of.selector('gs'),
    orig_eax: 0,
    eip: of.low('rip'),
    cs: of.selector('cs'),
    eflags: of.low('rflags'),
    esp: of.low('rsp'),
    ss: of.selector('ss'),
    pad3: NONE,
  })
}

function cpuState(cpu: Cpu): Buffer {
  const of = new Registers(cpu)
  const segment = (name: SegmentName) => encodeSegment(cpu.segments.get(name))
  return QEMU_CPU_STATE.encode({
    version: QEMU_STATE_VERSION,
    size: QEMU_CPU_STATE.size,
    ...of.all(STATE_REGISTERS),
    cs: segment('cs'),
    ds: segment('ds'),
    es: segment('es'),
    fs: segment('fs'),
    gs: segment('gs'),
    ss: segment('ss'),
    ldt: segment('ldtr'),
    tr: segment('tr'),
    gdt: encodeTable(cpu.gdtr),
    idt: encodeTable(cpu.idtr),
    kernel_gs_base: of.wide('kernelGsBase'),
  })
}

function encodeSegment({ selector = 0, limit = 0, rights = 0, base = 0n }: Segment = {}): Buffer {
  return QEMU_SEGMENT.encode({ selector, limit, flags: rights, pad: 0, base })
}

function encodeTable(table: Table | undefined): Buffer {
  return QEMU_SEGMENT.encode({ selector: 0, limit: table?.limit ?? 0, flags: 0, pad: 0, base: table?.base ?? 0n })
}
