/** The registers of the example's two CPUs, in the tags of the generation that Player 16 writes. */
import { type TagSpec, u8, u16, u32, u64 } from '../../test/support/checkpoint.ts'
import { ADDRESSES, KERNEL_BASE } from './addresses.ts'

/** The tags of the group `cpu`: CPU 0 is halted in the kernel, CPU 1 is in a process. */
export function makeCpuTags(): TagSpec[] {
  return [
    { name: 'cpu:numVCPUs', value: u32(CPUS.length) },
    { name: 'numSMT', value: u8(1) },
    ...CPUS.flatMap(tagsOfCpu),
  ]
}

interface Cpu {
  rip: bigint
  /** rax rcx rdx rbx rsp rbp rsi rdi r8 ... r15, as x86 numbers them. */
  general: bigint[]
  /** The arithmetic flags and the others, which VMware keeps in two tags. */
  eflags: number
  EFLAGS: number
  halted: boolean
  /** CR0 CR2 CR3 CR4 CR8 */
  control: [bigint, bigint, bigint, bigint, bigint]
  /** ES CS SS DS FS GS LDTR TR, and their access rights as the high half of a descriptor has them in bits 8 to 23, without the 8 bits below. */
  selectors: number[]
  rights: number[]
  /** Bases of FS, GS and TR, and the base that SWAPGS exchanges GS with. */
  fsBase: bigint
  gsBase: bigint
  trBase: bigint
  otherGsBase: bigint
}

const { process } = ADDRESSES
const inKernel = (physical: number) => KERNEL_BASE + BigInt(physical)

const CPUS: Cpu[] = [
  {
    rip: inKernel(ADDRESSES.idle),
    general: [
      0x0n,
      inKernel(0x2df2e80),
      0x1n,
      0x0n,
      inKernel(ADDRESSES.kernelStack),
      inKernel(0x2df2e80),
      0xfffffa8003d0e8d0n,
      0xfffffa8003cd2040n,
      0x0n,
      0x0n,
      0x7fffffb1n,
      0x286n,
      0x2710n,
      inKernel(0x2e00cc0),
      0x0n,
      inKernel(0xb9c080),
    ],
    eflags: 0x46,
    EFLAGS: 0x202,
    halted: true,
    control: [0x80050031n, 0x7fefdb71000n, BigInt(ADDRESSES.kernelTables), 0x6f8n, 0x0n],
    selectors: [0x2b, 0x10, 0x18, 0x2b, 0x53, 0x2b, 0, 0x40],
    rights: [0xc0f3, 0x209b, 0xc093, 0xc0f3, 0x40f3, 0xc0f3, 0, 0x8b],
    fsBase: 0n,
    gsBase: inKernel(ADDRESSES.processorBlock),
    trBase: inKernel(0xb96080),
    otherGsBase: 0x7fffffde000n,
  },
  {
    rip: BigInt(process.rip),
    general: [
      0x102n,
      BigInt(process.rip),
      0x0n,
      0x3c2f40n,
      BigInt(process.rsp),
      0x1df9d0n,
      0x77a4b4a0n,
      0x5cn,
      0x1df8d8n,
      0x0n,
      0x0n,
      0x246n,
      0xffffffffn,
      0x7fffffdc000n,
      0x3c2f40n,
      0x0n,
    ],
    eflags: 0x46,
    EFLAGS: 0x202,
    halted: false,
    control: [0x80050031n, 0x1de000n, BigInt(process.tables), 0x6f8n, 0x0n],
    selectors: [0x2b, 0x33, 0x2b, 0x2b, 0x53, 0x2b, 0, 0x40],
    rights: [0xc0f3, 0x20fb, 0xc0f3, 0xc0f3, 0x40f3, 0xc0f3, 0, 0x8b],
    fsBase: 0xfffdf000n,
    gsBase: 0x7fffffdd000n,
    trBase: inKernel(0xc96080),
    otherGsBase: inKernel(0xc9c000),
  },
]

function tagsOfCpu(cpu: Cpu, index: number): TagSpec[] {
  const [cr0, cr2, cr3, cr4, cr8] = cpu.control
  const scalar = (name: string, value: Uint8Array, ...indices: number[]): TagSpec => ({
    name,
    indices: [index, ...indices],
    value,
  })
  const block = (name: string, words: bigint[]): TagSpec => ({
    name,
    indices: [index],
    block: Buffer.concat(words.map(u64)),
  })
  const table = (name: string, base: bigint, limit: number): TagSpec => ({
    name,
    indices: [index],
    block: Buffer.concat([u16(limit), u64(base)]),
  })
  const descriptors = inKernel(ADDRESSES.gdt[index] ?? 0)
  return [
    scalar('eflags', u32(cpu.eflags)),
    scalar('EFLAGS', u32(cpu.EFLAGS)),
    scalar('rip', u64(cpu.rip)),
    scalar('eip', u32(Number(cpu.rip & 0xffffffffn))),
    scalar('halted', u8(cpu.halted ? 1 : 0)),
    scalar('pendingNMI', u8(0)),
    block('gpregs', cpu.general),
    ...cpu.selectors.flatMap((selector, segment) => {
      const base = new Map([
        [4, cpu.fsBase],
        [5, cpu.gsBase],
        [7, cpu.trBase],
      ]).get(segment)
      return [
        scalar('S', u32(selector), segment),
        scalar('S.limit', u32(segment === 7 ? 0x67 : segment === 6 ? 0 : 0xffffffff), segment),
        scalar('S.base', u32(Number((base ?? 0n) & 0xffffffffn)), segment),
        scalar('S.base64', u64(base ?? 0n), segment),
        scalar('S.rights', u32((cpu.rights[segment] ?? 0) << 8), segment),
      ]
    }),
    block('CR64', [cr0, 0n, cr2, cr3, cr4, 0n, 0n, 0n, cr8]),
    block('DR64', [0n, 0n, 0n, 0n, 0n, 0n, 0xffff0ff0n, 0x400n]),
    table('GDTR', descriptors, 0x7f),
    table('IDTR', descriptors + 0x80n, 0xfff),
    scalar('EFER', u64(0xd01)),
    scalar('KERNELGSBASE', u64(cpu.otherGsBase)),
    scalar('PAT', u64(0x0007010600070106n)),
    scalar('XCR0', u64(7)),
    scalar('sysEnterCS', u64(0)),
    scalar('sysEnterESP', u64(0)),
    scalar('sysEnterEIP', u64(0)),
    block('syscallMSR', [0x0023001000000000n, inKernel(ADDRESSES.systemCall), inKernel(ADDRESSES.systemCall), 0x4700n]),
    // The base of the interrupt controller, which also says who was started first, and TSC_AUX.
    scalar('MSR', u64(index === 0 ? 0xfee00900 : 0xfee00800), 0x1b),
    scalar('MSR', u64(index), 0xc0000103),
    { name: 'fpu:fxstate', indices: [index], block: emptyFloatingPoint() },
    scalar('hyvMsrGuestOSId', u64(0x0001040601011db1n)),
  ]
}

/** An FXSAVE image of 512 bytes with nothing in its registers: the control words are those after a reset. */
function emptyFloatingPoint(): Uint8Array {
  const image = Buffer.alloc(512)
  image.writeUInt16LE(0x37f, 0)
  image.writeUInt32LE(0x1f80, 24)
  return image
}
