/**
 * A guest that has something of everything: as evidence on disk, and as the tree that a mount of it must show. Like the
 * builder it shares nothing with the program: names and contents are spelled out.
 */
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { type GroupSpec, type TagSpec, text, u8, u16, u32, u64, writeCheckpoint } from './checkpoint.ts'
import { pattern } from './mount.ts'

export const PAGE = 4096

/** Bytes of memory that stand at `image` in the .vmem and belong at the guest's `address`. */
export interface Region {
  address: number
  image: number
  size: number
}

/** Two regions, with a hole between them. */
export const REGIONS: readonly [Region, Region] = [
  { address: 0, image: 0, size: 96 * PAGE },
  { address: 256 * PAGE, image: 96 * PAGE, size: 160 * PAGE },
]
export const MEMORY_SIZE = 256 * PAGE
export const ADDRESS_SPACE = 416 * PAGE

export const CHECKPOINT_TIME = new Date('2011-03-13T07:06:40Z')
export const MEMORY_TIME = new Date('2010-02-12T06:05:30Z')

/** The configuration of the machine, in an encoding that is not ours. */
export const CONFIG = Buffer.from('.encoding = "windows-1252"\ndisplayName = "M\xfcller"\n', 'latin1')

/** A screen of one black pixel. */
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==',
  'base64',
)

/** A text that stands in memory, followed by ` at ` and its offset in the image. */
export const NEEDLE = 'a needle of the guest'
/** Where the needle is whole. */
export const NEEDLE_OFFSETS = [12_345, MEMORY_SIZE - 100] as const

/** The memory as it lies in the .vmem. */
export const image = memoryImage()
/** The memory at its addresses. */
export const physmem = memoryAt(REGIONS, image)

/** Paths that a mount may have beside those that are checked byte by byte: views that other tests know. */
export const OTHER_VIEWS = /^(physmem\.(elf|lime)|cpu\/.*|meta\/.+)$/

/** A tag, the name of its file, and what the file below groups/ shows if that is not the bytes of the value. */
type Row = [tag: TagSpec, file: string, shown?: string]

const GROUPS: { name: string; folder: string; rows: Row[] }[] = [
  {
    name: 'Checkpoint',
    folder: 'Checkpoint',
    rows: [
      [{ name: 'fileversion', value: u32(12) }, 'fileversion', '0xc\n'],
      [{ name: 'ProductName', block: text('VMware Player', 256) }, 'ProductName'],
      [{ name: 'memSize', value: u32(1) }, 'memSize', '0x1\n'],
      [{ name: 'byte', value: u8(0xff) }, 'byte', '0xff\n'],
      [{ name: 'word', value: u16(0x1234) }, 'word', '0x1234\n'],
      [{ name: 'zero', value: u64(0) }, 'zero', '0x0\n'],
      [{ name: 'three bytes', value: Buffer.from([1, 2, 3]) }, 'three bytes'],
      [{ name: 'nothing', value: Buffer.alloc(0) }, 'nothing'],
      [{ name: 'most', value: pattern(3, 61) }, 'most'],
      [{ name: 'empty block', block: Buffer.alloc(0) }, 'empty block'],
      [{ name: 'padded', block: pattern(4, 5000), pad: 77 }, 'padded'],
      [{ name: 'eight', block: u64(8) }, 'eight'],
    ],
  },
  {
    name: 'cpu',
    folder: 'cpu',
    rows: [
      [{ name: 'cpu:numVCPUs', value: u32(2) }, 'cpu:numVCPUs', '0x2\n'],
      [{ name: 'rip', indices: [0], value: u64(0xffff_f800_02c1_c0ban) }, 'rip[0]', '0xfffff80002c1c0ba\n'],
      [{ name: 'rip', indices: [1], value: u64(0xffff_ffff_ffff_ffffn) }, 'rip[1]', '0xffffffffffffffff\n'],
      [{ name: 'CR', indices: [0, 3], value: u32(0x18_7000) }, 'CR[0][3]', '0x187000\n'],
      [{ name: 'deep', indices: [1, 22, 333], value: u8(7) }, 'deep[1][22][333]', '0x7\n'],
      [{ name: 'MSR', indices: [0, 0xc000_0082], value: u64(1) }, 'MSR[0][3221225602]', '0x1\n'],
      [{ name: 'hv:ttbrEL1[0]', indices: [0], value: u64(5) }, 'hv:ttbrEL1[0][0]', '0x5\n'],
      [{ name: 'fpuLevelState', value: u8(1) }, 'fpuLevelState', '0x1\n'],
      [{ name: 'fpuLevelState', value: u8(1) }, 'fpuLevelState~2', '0x1\n'],
    ],
  },
  { name: 'Tools Install', folder: 'Tools Install', rows: [] },
  {
    name: 'nvme0:0',
    folder: 'nvme0:0',
    rows: [
      [{ name: 'BM cmdReg', value: u8(9) }, 'BM cmdReg', '0x9\n'],
      [{ name: 'features', value: u8(1) }, 'features', '0x1\n'],
      [{ name: 'features', indices: [0], value: u8(2) }, 'features[0]', '0x2\n'],
      [{ name: 'features', indices: [0, 1], value: u8(3) }, 'features[0][1]', '0x3\n'],
      [{ name: 'rc.begin', value: u8(1) }, 'rc.begin', '0x1\n'],
      [{ name: 'rc.begin', value: u8(2) }, 'rc.begin~2', '0x2\n'],
      [{ name: 'rc.begin', value: u8(3) }, 'rc.begin~3', '0x3\n'],
      [{ name: 'rc.begin', indices: [0], value: u8(4) }, 'rc.begin[0]', '0x4\n'],
      [{ name: 'rc.begin', indices: [0], block: pattern(5, 600) }, 'rc.begin[0]~2'],
    ],
  },
  { name: 'usb', folder: 'usb', rows: [[{ name: 'first', value: u8(1) }, 'first', '0x1\n']] },
  { name: 'usb', folder: 'usb~2', rows: [[{ name: 'second', value: u8(2) }, 'second', '0x2\n']] },
  {
    name: '..',
    folder: '%2E%2E',
    rows: [
      [{ name: '.', value: Buffer.from('a dot') }, '%2E'],
      [{ name: '..', value: Buffer.from('a dot, a dot') }, '%2E%2E'],
      [{ name: '../../../etc/passwd', value: Buffer.from('no, not this') }, '..%2F..%2F..%2Fetc%2Fpasswd'],
      [{ name: 'nul\0', value: Buffer.from('nul') }, 'nul%00'],
      [{ name: 'line\nfeed\x1b[31m\x7f', value: Buffer.from('ctl') }, 'line%0Afeed%1B[31m%7F'],
      [{ name: '100%', value: Buffer.from('all') }, '100%25'],
      [{ name: '%2F', value: Buffer.from('like a slash') }, '%252F'],
      [{ name: ' spaces ', value: Buffer.from('spaces') }, ' spaces '],
      [{ name: 'zażółć 日本語', value: Buffer.from('UTF-8') }, 'zażółć 日本語'],
    ],
  },
  { name: 'MKSVMX', folder: 'MKSVMX', rows: [[{ name: 'imageData', block: PNG }, 'imageData']] },
  { name: 'Snapshot', folder: 'Snapshot', rows: [[{ name: 'cfgFile', block: CONFIG }, 'cfgFile']] },
  {
    name: 'memory',
    folder: 'memory',
    rows: [
      [{ name: 'align_mask', indices: [0, 0], value: u32(0xffff) }, 'align_mask[0][0]', '0xffff\n'],
      [{ name: 'regionsCount', value: u32(2) }, 'regionsCount', '0x2\n'],
      [{ name: 'regionPageNum', indices: [0], value: u64(0) }, 'regionPageNum[0]', '0x0\n'],
      [{ name: 'regionPPN', indices: [0], value: u64(0) }, 'regionPPN[0]', '0x0\n'],
      [{ name: 'regionSize', indices: [0], value: u64(96) }, 'regionSize[0]', '0x60\n'],
      [{ name: 'regionPageNum', indices: [1], value: u64(96) }, 'regionPageNum[1]', '0x60\n'],
      [{ name: 'regionPPN', indices: [1], value: u64(256) }, 'regionPPN[1]', '0x100\n'],
      [{ name: 'regionSize', indices: [1], value: u64(160) }, 'regionSize[1]', '0xa0\n'],
    ],
  },
]

/**
 * Writes the evidence into a new folder that every user can read, the memory beside the checkpoint, and answers the path of
 * the checkpoint.
 */
export function writeGuest(folder: string): string {
  mkdirSync(folder)
  const checkpoint = join(folder, 'guest-Snapshot1.vmsn')
  writeCheckpoint(checkpoint, { groups: GROUPS.map(({ name, rows }) => ({ name, tags: rows.map(([tag]) => tag) })) })
  writeFileSync(vmemOf(checkpoint), image)
  utimesSync(checkpoint, CHECKPOINT_TIME, CHECKPOINT_TIME)
  utimesSync(vmemOf(checkpoint), MEMORY_TIME, MEMORY_TIME)
  chmodSync(folder, 0o755)
  chmodSync(checkpoint, 0o644)
  chmodSync(vmemOf(checkpoint), 0o644)
  return checkpoint
}

/** Writes the snapshot of a machine that was powered off, which has its configuration and nothing else. */
export function writePoweredOff(folder: string): string {
  const checkpoint = join(folder, 'off.vmsn')
  writeCheckpoint(checkpoint, { groups: [{ name: 'Snapshot', tags: [{ name: 'cfgFile', block: CONFIG }] }] })
  chmodSync(checkpoint, 0o644)
  return checkpoint
}

/** The group that says where memory belongs. */
export function memoryGroup(regions: readonly Region[]): GroupSpec {
  const tags = regions.flatMap(({ address, image, size }, index) => [
    { name: 'regionPageNum', indices: [index], value: u64(image / PAGE) },
    { name: 'regionPPN', indices: [index], value: u64(address / PAGE) },
    { name: 'regionSize', indices: [index], value: u64(size / PAGE) },
  ])
  return { name: 'memory', tags: [{ name: 'regionsCount', value: u32(regions.length) }, ...tags] }
}

/** The name that the memory of a checkpoint has. */
export function vmemOf(checkpoint: string): string {
  return checkpoint.replace(/\.vms[ns]$/, '.vmem')
}

/** Memory at its addresses, from the image of it. */
export function memoryAt(regions: readonly Region[], image: Uint8Array): Buffer {
  const flat = Buffer.alloc(Math.max(...regions.map(({ address, size }) => address + size)))
  for (const { address, image: offset, size } of regions) {
    flat.set(image.subarray(offset, offset + size), address)
  }
  return flat
}

/** What a mount of {@link writeGuest} shows, but for {@link OTHER_VIEWS}. */
export function expectedTree(): Map<string, Buffer> {
  const folder = Buffer.alloc(0)
  const tree = new Map<string, Buffer>([
    ['physmem.raw', physmem],
    ['screenshot.png', PNG],
    ['config.vmx', Buffer.from('-> groups/Snapshot/cfgFile')],
    ['Snapshot', Buffer.from('-> groups/Snapshot')],
    ['groups/', folder],
    ['raw/', folder],
    ['meta/', folder],
  ])
  for (const group of GROUPS) {
    tree.set(`groups/${group.folder}/`, folder)
    tree.set(`raw/${group.folder}/`, folder)
    for (const [tag, file, shown] of group.rows) {
      const bytes = bytesOf(tag)
      tree.set(`raw/${group.folder}/${file}`, bytes)
      tree.set(`groups/${group.folder}/${file}`, shown === undefined ? bytes : Buffer.from(shown))
    }
  }
  return tree
}

/** Every path below a directory: what a file contains, where a link leads, and nothing for a folder's `path/`. */
export async function readTree(root: string, below = ''): Promise<Map<string, Buffer>> {
  const tree = new Map<string, Buffer>()
  for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`
    if (entry.isDirectory()) {
      tree.set(`${path}/`, Buffer.alloc(0))
      for (const [deeper, content] of await readTree(root, path)) {
        tree.set(deeper, content)
      }
    } else if (entry.isSymbolicLink()) {
      tree.set(path, Buffer.from(`-> ${await readlink(join(root, path))}`))
    } else {
      tree.set(path, await readFile(join(root, path)))
    }
  }
  return tree
}

/** A tree without {@link OTHER_VIEWS}, as sorted lines that read well in a failure. */
export function summary(tree: ReadonlyMap<string, Buffer>): string[] {
  const lines = [...tree].map(([path, bytes]) => {
    const content = bytes.length <= 64 ? JSON.stringify(bytes.toString('latin1')) : sha256(bytes)
    return OTHER_VIEWS.test(path) ? '' : `${path}: ${bytes.length} bytes, ${content}`
  })
  return lines.filter((line) => line !== '').sort()
}

/** The digest of some parts, as sha256sum prints that of the whole. */
export function sha256(...parts: Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const part of parts) {
    hash.update(part)
  }
  return hash.digest('hex')
}

function memoryImage(): Buffer {
  const bytes = pattern(1, MEMORY_SIZE)
  // The one across the seam of the regions is torn by the hole between them: only in the image it is whole.
  for (const offset of [...NEEDLE_OFFSETS, REGIONS[1].image - 10]) {
    bytes.write(`\0${NEEDLE} at ${offset}\0`, offset - 1)
  }
  return bytes
}

function bytesOf(tag: TagSpec): Buffer {
  const bytes = 'value' in tag ? tag.value : 'block' in tag ? tag.block : tag.compressed
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError('the guest has no sparse tags')
  }
  return Buffer.from(bytes)
}
