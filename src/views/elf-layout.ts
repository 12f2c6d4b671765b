import { raw, Struct, u16, u32, u64, u64big } from '../evidence/struct.ts'

// The records of an ELF core as QEMU's dump-guest-memory writes it, as tables: elf(5), QEMU's dump/dump.c and
// target/i386/arch_dump.c. Names are theirs.

const IDENTITY = { e_ident: raw(16), e_type: u16, e_machine: u16, e_version: u32 }
const COUNTS = {
  e_flags: u32,
  e_ehsize: u16,
  e_phentsize: u16,
  e_phnum: u16,
  e_shentsize: u16,
  e_shnum: u16,
  e_shstrndx: u16,
}

export const EHDR_64 = new Struct({ ...IDENTITY, e_entry: u64, e_phoff: u64, e_shoff: u64, ...COUNTS })
export const EHDR_32 = new Struct({ ...IDENTITY, e_entry: u32, e_phoff: u32, e_shoff: u32, ...COUNTS })

export const PHDR_64 = new Struct({
  p_type: u32,
  p_flags: u32,
  p_offset: u64,
  p_vaddr: u64,
  p_paddr: u64,
  p_filesz: u64,
  p_memsz: u64,
  p_align: u64,
})
/** The same fields, in another order. */
export const PHDR_32 = new Struct({
  p_type: u32,
  p_offset: u32,
  p_vaddr: u32,
  p_paddr: u32,
  p_filesz: u32,
  p_memsz: u32,
  p_flags: u32,
  p_align: u32,
})

/** Before the name and the contents of a note, each of which is padded to a multiple of 4 bytes. */
export const NHDR = new Struct({ n_namesz: u32, n_descsz: u32, n_type: u32 })

/** NT_PRSTATUS of x86-64. */
export const PRSTATUS_64 = new Struct({
  pad1: raw(32),
  pr_pid: u32,
  pad2: raw(76),
  r15: u64big,
  r14: u64big,
  r13: u64big,
  r12: u64big,
  rbp: u64big,
  rbx: u64big,
  r11: u64big,
  r10: u64big,
  r9: u64big,
  r8: u64big,
  rax: u64big,
  rcx: u64big,
  rdx: u64big,
  rsi: u64big,
  rdi: u64big,
  orig_rax: u64big,
  rip: u64big,
  cs: u64big,
  eflags: u64big,
  rsp: u64big,
  ss: u64big,
  fs_base: u64big,
  gs_base: u64big,
  ds: u64big,
  es: u64big,
  fs: u64big,
  gs: u64big,
  pad3: raw(8),
})

/** NT_PRSTATUS of i386. */
export const PRSTATUS_32 = new Struct({
  pad1: raw(24),
  pr_pid: u32,
  pad2: raw(44),
  ebx: u32,
  ecx: u32,
  edx: u32,
  esi: u32,
  edi: u32,
  ebp: u32,
  eax: u32,
  ds: u32,
  es: u32,
  fs: u32,
  gs: u32,
  orig_eax: u32,
  eip: u32,
  cs: u32,
  eflags: u32,
  esp: u32,
  ss: u32,
  pad3: raw(4),
})

export const QEMU_SEGMENT = new Struct({ selector: u32, limit: u32, flags: u32, pad: u32, base: u64big })

const SEGMENT = raw(QEMU_SEGMENT.size)

/** The note "QEMU", the same for 32 and 64 bits. */
export const QEMU_CPU_STATE = new Struct({
  version: u32,
  size: u32,
  rax: u64big,
  rbx: u64big,
  rcx: u64big,
  rdx: u64big,
  rsi: u64big,
  rdi: u64big,
  rsp: u64big,
  rbp: u64big,
  r8: u64big,
  r9: u64big,
  r10: u64big,
  r11: u64big,
  r12: u64big,
  r13: u64big,
  r14: u64big,
  r15: u64big,
  rip: u64big,
  rflags: u64big,
  cs: SEGMENT,
  ds: SEGMENT,
  es: SEGMENT,
  fs: SEGMENT,
  gs: SEGMENT,
  ss: SEGMENT,
  ldt: SEGMENT,
  tr: SEGMENT,
  gdt: SEGMENT,
  idt: SEGMENT,
  cr0: u64big,
  cr1: u64big,
  cr2: u64big,
  cr3: u64big,
  cr4: u64big,
  kernel_gs_base: u64big,
})
