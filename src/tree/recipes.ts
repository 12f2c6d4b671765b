import type { Extent } from '../evidence/extents.ts'
import { printable } from '../evidence/printable.ts'
import type { Memory } from '../guest/memory.ts'
import { planRaw } from '../views/raw.ts'

/** The unit of a device-mapper table, in bytes. */
const SECTOR_SIZE = 512

/** `meta/recipes.txt`: command lines for this very evidence. Those that our tests run are told from those that they cannot. */
export function recipesText(memory: Memory): string {
  const sections = [
    ['Run these in the folder of the mount.'],
    ['gdb: the registers of each vCPU, memory by physical address (tested)', '', '  gdb -c physmem.elf'],
    [
      'crash, for Linux, with the debug kernel of the guest (tested with crash 8.0)',
      '',
      '  crash VMLINUX physmem.elf',
      '  crash VMLINUX physmem.raw@0',
    ],
    ['Volatility 3 (not tested)', '', '  vol -f physmem.raw windows.info', '  vol -f physmem.elf linux.pslist'],
    [
      'MemProcFS (not tested), with the memory map in a file of its own',
      '',
      '  memprocfs -device physmem.raw -memmap map.txt -mount /mnt/processes',
      '',
      'map.txt:',
      '',
      ...memmapLines(memory),
    ],
    [
      'WinDbg (not tested): elf2dmp of QEMU makes a crash dump of a Windows guest',
      '',
      '  elf2dmp physmem.elf guest.dmp',
    ],
    deviceMapperSection(memory),
  ]
  return sections.map((lines) => `${lines.map((text) => printable(text)).join('\n')}\n`).join('\n')
}

/** As LeechCore reads them: number, first and last address, and the offset in the file, all in hexadecimal. */
function memmapLines(memory: Memory): string[] {
  return memory.regions.map(({ address, size }, index) => {
    const [start, end] = [address, address + size - 1].map((value) => value.toString(16).padStart(16, ' '))
    return `  ${index.toString(16).padStart(4, '0')} ${start} - ${end} -> ${start}`
  })
}

/** A block device of the same image, which the kernel composes itself of the evidence. */
function deviceMapperSection(memory: Memory): string[] {
  const title = 'device-mapper: the same image as a block device (not tested), as root'
  const extents = planRaw(memory)
  if (extents.some((extent) => offsetsOf(extent).some((offset) => offset % SECTOR_SIZE !== 0))) {
    return [title, '', `  Not possible here: a range does not begin or end at a multiple of ${SECTOR_SIZE} bytes.`]
  }
  const { path } = memory.image.file
  return [
    title,
    '',
    `  loop=$(losetup --find --show --read-only ${path.slice(path.lastIndexOf('/') + 1)})`,
    '  dmsetup create --readonly physmem << END',
    ...extents.map((extent) => `  ${tableLine(extent)}`),
    '  END',
  ]
}

function offsetsOf(extent: Extent): number[] {
  return extent.kind === 'file' ? [extent.start, extent.end, extent.offset] : [extent.start, extent.end]
}

/** Start and length in sectors, and what is there. */
function tableLine(extent: Extent): string {
  const range = `${extent.start / SECTOR_SIZE} ${(extent.end - extent.start) / SECTOR_SIZE}`
  switch (extent.kind) {
    case 'file':
      return `${range} linear $loop ${extent.offset / SECTOR_SIZE}`
    case 'zero':
      return `${range} zero`
    default:
      return `${range} error`
  }
}
