import type { Cpu } from './cpus.ts'

/** Names of the bits of a register, by bit number; Intel's manual, volume 3, sections 2.2.1, 2.3 and 2.5. */
type BitNames = Readonly<Record<number, string>>

// biome-ignore format: a table by bit number
const RFLAGS: BitNames = {
  0: 'CF', 2: 'PF', 4: 'AF', 6: 'ZF', 7: 'SF', 8: 'TF', 9: 'IF', 10: 'DF', 11: 'OF', 14: 'NT', 16: 'RF', 17: 'VM',
  18: 'AC', 19: 'VIF', 20: 'VIP', 21: 'ID',
}

// biome-ignore format: a table by bit number
const CR0: BitNames = {
  0: 'PE', 1: 'MP', 2: 'EM', 3: 'TS', 4: 'ET', 5: 'NE', 16: 'WP', 18: 'AM', 29: 'NW', 30: 'CD', 31: 'PG',
}

// biome-ignore format: a table by bit number
const CR4: BitNames = {
  0: 'VME', 1: 'PVI', 2: 'TSD', 3: 'DE', 4: 'PSE', 5: 'PAE', 6: 'MCE', 7: 'PGE', 8: 'PCE', 9: 'OSFXSR',
  10: 'OSXMMEXCPT', 11: 'UMIP', 12: 'LA57', 13: 'VMXE', 14: 'SMXE', 16: 'FSGSBASE', 17: 'PCIDE', 18: 'OSXSAVE',
  20: 'SMEP', 21: 'SMAP', 22: 'PKE', 23: 'CET', 24: 'PKS',
}

const EFER: BitNames = { 0: 'SCE', 8: 'LME', 10: 'LMA', 11: 'NXE', 12: 'SVME', 13: 'LMSLE', 14: 'FFXSR', 15: 'TCE' }

/** The registers whose bits have names. */
const FLAGS: Readonly<Record<string, BitNames>> = { rflags: RFLAGS, cr0: CR0, cr4: CR4, efer: EFER }

const RFLAGS_IOPL = 12n
const RFLAGS_VM = 1n << 17n
const CR0_PE = 1n
const CR0_PG = 1n << 31n
const CR4_PAE = 1n << 5n
const EFER_LMA = 1n << 10n

/** In the rights of a code segment, which are laid out as in its descriptor: 32-bit code, which in long mode is compatibility. */
const RIGHTS_D = 1 << 22

/** How an x86 vCPU runs. `long` executes 64-bit code, `compatibility` 32-bit code under a 64-bit system. */
export type Mode =
  | 'real'
  | 'virtual-8086'
  | 'protected'
  | 'protected, 32-bit paging'
  | 'protected, PAE paging'
  | 'compatibility'
  | 'long'

/** Names of the bits that are set, from low to high; undefined for a register whose bits have none. */
export function flagNames(register: string, value: bigint): string[] | undefined {
  const names = FLAGS[register]
  if (names === undefined) {
    return undefined
  }
  const set = Object.entries(names).filter(([bit]) => (value >> BigInt(bit)) & 1n)
  const iopl = register === 'rflags' ? Number((value >> RFLAGS_IOPL) & 3n) : 0
  return [...set.map(([, name]) => name), ...(iopl > 0 ? [`IOPL=${iopl}`] : [])]
}

/** The mode of a vCPU, by its control registers; undefined if cr0 is not known, as on ARM64. */
export function modeOf({ registers, segments }: Cpu): Mode | undefined {
  const [cr0, cr4 = 0n, efer = 0n, rflags = 0n] = ['cr0', 'cr4', 'efer', 'rflags'].map((name) => registers.get(name))
  if (cr0 === undefined) {
    return undefined
  }
  if ((cr0 & CR0_PE) === 0n) {
    return 'real'
  }
  if ((efer & EFER_LMA) !== 0n) {
    const rights = segments.get('cs')?.rights
    return rights !== undefined && (rights & RIGHTS_D) !== 0 ? 'compatibility' : 'long'
  }
  if ((rflags & RFLAGS_VM) !== 0n) {
    return 'virtual-8086'
  }
  if ((cr0 & CR0_PG) === 0n) {
    return 'protected'
  }
  return (cr4 & CR4_PAE) === 0n ? 'protected, 32-bit paging' : 'protected, PAE paging'
}

/** Whether the system on it is a 64-bit one, whatever code runs at the moment. */
export function isLongMode({ registers }: Cpu): boolean {
  return ((registers.get('efer') ?? 0n) & EFER_LMA) !== 0n
}

/** The privilege level, 0 to 3; undefined if the code segment is not known. */
export function ringOf(cpu: Cpu): number | undefined {
  const mode = modeOf(cpu)
  if (mode === 'real') {
    return 0
  }
  if (mode === 'virtual-8086') {
    return 3
  }
  const cs = cpu.segments.get('cs')?.selector
  return cs === undefined ? undefined : cs & 3
}
