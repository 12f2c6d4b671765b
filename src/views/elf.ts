import { compose, type Extents, type Piece } from '../evidence/extents.ts'
import type { Cpu } from '../guest/cpus.ts'
import type { Architecture } from '../guest/guest.ts'
import type { Memory } from '../guest/memory.ts'
import { isLongMode } from '../guest/mode.ts'
import { EHDR_32, EHDR_64, PHDR_32, PHDR_64 } from './elf-layout.ts'
import { encodeNotes } from './elf-notes.ts'

/** More regions than this, with their notes, are more program headers than `e_phnum` can count. */
export const MAX_ELF_REGIONS = 65_534

const ELFCLASS32 = 1
const ELFCLASS64 = 2
const ELFDATA2LSB = 1
const EV_CURRENT = 1
const ET_CORE = 4
const [EM_386, EM_X86_64, EM_AARCH64] = [3, 62, 183]
const [PT_LOAD, PT_NOTE] = [1, 4]

/** RAM begins at a multiple of this, so that a reader may map it, and so that it is not mistaken for another kind of dump. */
const PAGE_SIZE = 4096

/** A program header before its class decides how it is laid out. */
interface Segment {
  readonly p_type: number
  readonly p_offset: number
  readonly p_paddr: number
  readonly size: number
}

/**
 * The guest's memory as an ELF core, in the layout of QEMU's dump-guest-memory: headers, notes, then the regions one after the
 * other. What readers depend on: the notes are the first program header, sizes in the file and in memory are equal, `p_align`
 * is 0, and no region is empty.
 *
 * ```
 * Ehdr | PT_NOTE | PT_LOAD x regions | notes | pad | region 0 | region 1 | ...
 * ```
 */
export function planElf(memory: Memory, cpus: readonly Cpu[], architecture: Architecture): Extents {
  const notes = architecture === 'x86' ? encodeNotes(cpus) : Buffer.alloc(0)
  const machine = machineOf(cpus, architecture)
  const end = memory.regions.reduce((most, { address, size }) => Math.max(most, address + size), 0)
  // The class of 32 bits where all addresses and offsets surely fit: those tools expect it that know 32-bit guests.
  const wide = machine !== EM_386 || end > 0xffff_ffff - 0x40_0000
  const [ehdr, phdr] = wide ? [EHDR_64, PHDR_64] : [EHDR_32, PHDR_32]
  const notesOffset = ehdr.size + phdr.size * (1 + memory.regions.length)
  const ramOffset = Math.ceil((notesOffset + notes.length) / PAGE_SIZE) * PAGE_SIZE
  const segments: Segment[] = [{ p_type: PT_NOTE, p_offset: notesOffset, p_paddr: 0, size: notes.length }]
  let offset = ramOffset
  for (const { address, size } of memory.regions) {
    segments.push({ p_type: PT_LOAD, p_offset: offset, p_paddr: address, size })
    offset += size
  }
  const head = Buffer.concat([
    encodeEhdr(ehdr, wide ? ELFCLASS64 : ELFCLASS32, machine, phdr.size, segments.length),
    ...segments.map((segment) => encodePhdr(phdr, segment)),
    notes,
  ])
  const header: Piece = { kind: 'bytes', bytes: Buffer.concat([head], ramOffset), size: ramOffset }
  return compose([header, ...memory.regions.flatMap(({ pieces }) => pieces)])
}

/** A 32-bit system runs on every vCPU, or a 64-bit one on all; without their registers 64 bits are assumed. */
function machineOf(cpus: readonly Cpu[], architecture: Architecture): number {
  if (architecture === 'arm64') {
    return EM_AARCH64
  }
  return cpus.length > 0 && !cpus.some(isLongMode) ? EM_386 : EM_X86_64
}

function encodeEhdr(
  ehdr: typeof EHDR_64 | typeof EHDR_32,
  elfClass: number,
  machine: number,
  e_phentsize: number,
  e_phnum: number,
): Buffer {
  return ehdr.encode({
    e_ident: Buffer.from([0x7f, 0x45, 0x4c, 0x46, elfClass, ELFDATA2LSB, EV_CURRENT]),
    e_type: ET_CORE,
    e_machine: machine,
    e_version: EV_CURRENT,
    e_entry: 0,
    e_phoff: ehdr.size,
    e_shoff: 0,
    e_flags: 0,
    e_ehsize: ehdr.size,
    e_phentsize,
    e_phnum,
    e_shentsize: 0,
    e_shnum: 0,
    e_shstrndx: 0,
  })
}

function encodePhdr(phdr: typeof PHDR_64 | typeof PHDR_32, { p_type, p_offset, p_paddr, size }: Segment): Buffer {
  const sizes = { p_filesz: size, p_memsz: size, p_align: 0 }
  return phdr.encode({ p_type, p_flags: 0, p_offset, p_vaddr: p_paddr, p_paddr, ...sizes })
}
