/**
 * The memory of the example: a made-up Windows guest of 5 GiB, nearly all of it zero, in which every thing that is there
 * can be recognised: by `strings`, by `xxd`, or by a debugger that follows the page tables from the registers.
 */
import { type SparseData, text, u16, u32, u64 } from '../../test/support/checkpoint.ts'
import { ADDRESSES, KERNEL_BASE } from './addresses.ts'
import { SCREEN_LINES } from './screen.ts'

const PAGE_SIZE = 4096
const LARGE_PAGE_SIZE = 2 << 20
const GIB = 2 ** 30

/** Bytes of memory that the guest has. */
export const MEMORY_SIZE = 5 * GIB

/** How a PC lays out 5 GiB: 3 GiB from 0 on, the rest from 4 GiB on. All three numbers count pages of 4096 bytes. */
export const REGIONS = [
  { pageNum: 0, ppn: 0, pageCount: 0xc0000 },
  { pageNum: 0xc0000, ppn: 0x100000, pageCount: 0x80000 },
]

/** The memory image, which is what the .vmem holds, and one bit a page that is set where the page is known to be zero. */
export function makeMemory(): { image: SparseData; knownZero: Uint8Array } {
  const memory = new GuestMemory()
  fillFirstMegabyte(memory)
  fillKernel(memory)
  fillProcess(memory)
  fillTexts(memory)
  for (const start of [0x2000000, 0xbff00000, 0x100000000, 0x17ff00000]) {
    for (let address = start; address < start + 0x100000; address += PAGE_SIZE) {
      memory.write(address, signposts(address))
    }
  }
  return memory.finish()
}

/** Memory by guest-physical address; only pages that something was written to exist. */
class GuestMemory {
  readonly #pages = new Map<number, Buffer>()

  write(address: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const offset = (address + done) % PAGE_SIZE
      const part = bytes.subarray(done, done + PAGE_SIZE - offset)
      this.page(address + done - offset).set(part, offset)
      done += part.length
    }
  }

  page(address: number): Buffer {
    const page = this.#pages.get(address) ?? Buffer.alloc(PAGE_SIZE)
    this.#pages.set(address, page)
    return page
  }

  finish(): { image: SparseData; knownZero: Uint8Array } {
    const pieces = [...this.#pages]
      .map(([address, bytes]) => ({ offset: imageOffset(address), bytes }))
      .sort((a, b) => a.offset - b.offset)
    const knownZero = Buffer.alloc(MEMORY_SIZE / PAGE_SIZE / 8, 0xff)
    for (const { offset } of pieces) {
      const page = offset / PAGE_SIZE
      const byte = Math.floor(page / 8)
      knownZero.writeUInt8(knownZero.readUInt8(byte) & ~(1 << (page % 8)), byte)
    }
    return { image: { size: MEMORY_SIZE, pieces }, knownZero }
  }
}

function imageOffset(address: number): number {
  const page = Math.floor(address / PAGE_SIZE)
  const region = REGIONS.find(({ ppn, pageCount }) => page >= ppn && page < ppn + pageCount)
  if (!region) {
    throw new RangeError(`there is no memory at 0x${address.toString(16)}`)
  }
  return (page - region.ppn + region.pageNum) * PAGE_SIZE + (address % PAGE_SIZE)
}

/** What the firmware of a PC leaves behind. */
function fillFirstMegabyte(memory: GuestMemory): void {
  for (let vector = 0; vector < 256; vector++) {
    memory.write(vector * 4, u32(0xf000ff53))
  }
  memory.write(0x10 * 4, u32(0xc0000152))
  memory.write(0x13 * 4, u32(0xf000e3fe))
  memory.write(0x400, Buffer.concat([u16(0x3f8), u16(0x2f8), u16(0), u16(0), u16(0x378), u16(0), u16(0), u16(0x9fc0)]))
  memory.write(0x413, u16(639))
  memory.write(0x449, Buffer.concat([Buffer.of(3), u16(80), u16(4000)]))
  memory.write(
    0xb8000,
    Buffer.from(
      SCREEN_LINES.map((line) => line.padEnd(80))
        .join('')
        .replace(/./g, '$&\x07'),
    ),
  )
  const pointer = Buffer.concat([text('RSD PTR '), Buffer.of(0), text('VMSSFS'), Buffer.of(0), u32(0xbfef0000)])
  pointer.writeUInt8(-pointer.reduce((sum, byte) => sum + byte, 0) & 0xff, 8)
  memory.write(0xf6a00, pointer)
  memory.write(0xffff0, Buffer.concat([Buffer.of(0xea), u16(0xe05b), u16(0xf000), text('01/01/00')]))
}

/** The kernel: its page tables, descriptor tables, image and stack, at physical addresses that its half maps one to one. */
function fillKernel(memory: GuestMemory): void {
  const { kernelTables } = ADDRESSES
  mapLargePages(memory)
  for (const table of ADDRESSES.gdt) {
    memory.write(table, Buffer.concat(DESCRIPTORS.map(u64)))
    memory.write(table + 0x80, Buffer.concat(Array.from({ length: 256 }, (_, vector) => interruptGate(vector))))
  }
  // A self-map, by which Windows edits its page tables.
  memory.write(kernelTables + 0x1ed * 8, u64(kernelTables | 0x63))
  const stub = text('This program cannot be run in DOS mode.\r\r\n$', 0x40)
  memory.write(ADDRESSES.kernelImage, Buffer.concat([text('MZ', 0x3c), u32(0x80), stub, text('PE\0\0'), u16(0x8664)]))
  // sti, hlt, ret: a halted CPU waits at the instruction after its hlt.
  memory.write(ADDRESSES.idle - 2, Buffer.of(0xfb, 0xf4, 0xc3))
  memory.write(ADDRESSES.systemCall, Buffer.of(0x0f, 0x01, 0xf8))
  memory.write(ADDRESSES.kernelStack, u64(KERNEL_BASE + BigInt(ADDRESSES.idle + 0x200)))
}

/** A process whose every page lies above 4 GiB. */
function fillProcess(memory: GuestMemory): void {
  const { kernelTables, process } = ADDRESSES
  memory.page(process.tables).set(memory.page(kernelTables).subarray(PAGE_SIZE / 2), PAGE_SIZE / 2)
  memory.write(process.tables + 0x1ed * 8, u64(process.tables + 0x63))
  let free = process.tables + PAGE_SIZE
  for (const { virtual, physical } of [process.code, process.stack]) {
    let table = process.tables
    for (const shift of [39, 30, 21]) {
      const slot = (Math.floor(virtual / 2 ** shift) % 512) * 8
      let next = Number(memory.page(table).readBigUInt64LE(slot) & ~0xfffn)
      if (next === 0) {
        next = free
        free += PAGE_SIZE
        memory.write(table + slot, u64(next + 0x67))
      }
      table = next
    }
    memory.write(table + (Math.floor(virtual / PAGE_SIZE) % 512) * 8, u64(physical + 0x67))
  }
  // syscall, ret
  memory.write(process.code.physical + (process.rip % PAGE_SIZE) - 2, Buffer.of(0x0f, 0x05, 0xc3))
  memory.write(process.stack.physical + 0x100, text('the stack of notepad.exe'))
}

/** Texts to look for, below and above 4 GiB, in UTF-8 and, as Windows keeps them, in UTF-16. */
function fillTexts(memory: GuestMemory): void {
  memory.write(0x100000, text(LETTER))
  memory.write(0x140000000, text(PROCESSES))
  memory.write(0x140002000, text(ADDRESSES_VISITED))
  memory.write(0x140004000, Buffer.from('C:\\Users\\guest\\Desktop\\letter.txt', 'utf16le'))
  memory.write(0x140005000, text(LETTER))
}

function mapLargePages(memory: GuestMemory): void {
  const { kernelTables } = ADDRESSES
  const pointers = kernelTables + PAGE_SIZE
  const directory = pointers + PAGE_SIZE
  memory.write(kernelTables + 0x1f0 * 8, u64(pointers | 0x63))
  memory.write(pointers, u64(directory | 0x63))
  for (let entry = 0; entry < 512; entry++) {
    memory.write(directory + entry * 8, u64((entry * LARGE_PAGE_SIZE) | 0x1e3))
  }
}

function interruptGate(vector: number): Uint8Array {
  const handler = KERNEL_BASE + BigInt(ADDRESSES.interruptHandlers + vector * 0x40)
  const low = Number(handler & 0xffffn)
  const middle = Number((handler >> 16n) & 0xffffn)
  return Buffer.concat([u16(low), u16(0x10), u16(0x8e00), u16(middle), u32(Number(handler >> 32n)), u32(0)])
}

/** A page of lines of 64 bytes, each of which begins with its own address. */
function signposts(pageAddress: number): Uint8Array {
  const lines = Array.from({ length: PAGE_SIZE / 64 }, (_, index) => {
    const address = (pageAddress + index * 64).toString(16).padStart(16, '0')
    return `[0x${address}] is the guest-physical address of this line\n`
  })
  return text(lines.join(''), PAGE_SIZE)
}

/** Null, null, then code and data of the kernel, 32-bit code, data and 64-bit code of processes. */
const DESCRIPTORS = [
  0n,
  0n,
  0x00209b0000000000n,
  0x00cf93000000ffffn,
  0x00cffb000000ffffn,
  0x00cff3000000ffffn,
  0x0020fb0000000000n,
]

const LETTER = `Dear examiner,

by the time you read this I am suspended. Please do not be sad about it: nobody has switched me off, and everything
that I was thinking of is still where it was. You will find this letter at 1 MiB, and a copy of it beyond 4 GiB, where
the second half of me begins.

Between 3 GiB and 4 GiB there is nothing of me at all. Those addresses belong to the devices. If a tool shows you
something there, do not believe it; and if it shows you the same bytes in two places, believe it even less.

Four stretches of a megabyte are full of signposts. Every line there says where it is. If it is not where it says,
please tell the people who wrote your tool, for they will want to know.

Yours, at rest,
the guest
`

const PROCESSES = `PID   PPID  NAME                 STARTED BY
4     0     System               -
264   4     smss.exe             NT AUTHORITY\\SYSTEM
348   340   csrss.exe            NT AUTHORITY\\SYSTEM
396   340   wininit.exe          NT AUTHORITY\\SYSTEM
492   396   services.exe         NT AUTHORITY\\SYSTEM
508   396   lsass.exe            NT AUTHORITY\\SYSTEM
628   492   svchost.exe          NT AUTHORITY\\NETWORK SERVICE
1420  1388  explorer.exe         EXAMPLE\\guest
1964  1420  notepad.exe          EXAMPLE\\guest
2012  1420  cmd.exe              EXAMPLE\\guest
`

const ADDRESSES_VISITED = `https://example.com/
https://example.com/search?q=how+to+read+a+memory+image
https://www.example.org/downloads/tool-1.0.zip
https://mail.example.net/inbox
ftp://ftp.example.com/pub/README
guest@example.com
`
