/** Where things are in the example's memory, so that its registers and its memory tell the same story. */

/** What the kernel adds to a physical address below 1 GiB to reach it. */
export const KERNEL_BASE = 0xfffff80000000000n

/** Guest-physical addresses, unless they are called virtual. */
export const ADDRESSES = {
  kernelTables: 0x187000,
  kernelImage: 0x2a00000,
  kernelStack: 0xba1d28,
  idle: 0x2c1c0ba,
  systemCall: 0x2c7dec0,
  interruptHandlers: 0x2c7e000,
  processorBlock: 0x2df2d00,
  /** One table of descriptors a CPU, its interrupt gates 0x80 bytes on. */
  gdt: [0xb95000, 0xc95000],
  process: {
    tables: 0x12d4f7000,
    code: { virtual: 0x77961000, physical: 0x1634ab000 },
    stack: { virtual: 0x1df000, physical: 0x15a3c2000 },
    /** Virtual addresses within the two. */
    rip: 0x77961e3a,
    rsp: 0x1df8e8,
  },
}
