/** The groups of the example's checkpoint: those that mean something to the program, and devices with odd names. */
import { type GroupSpec, type TagSpec, text, u8, u16, u32, u64 } from '../../test/support/checkpoint.ts'
import { makeCpuTags } from './cpu.ts'
import { MEMORY_SIZE, REGIONS } from './memory.ts'
import { drawScreen } from './screen.ts'

/** All groups; `knownZero` is the bitmap of pages that are known to be zero. */
export function makeGroups(knownZero: Uint8Array): GroupSpec[] {
  return [
    {
      name: 'Checkpoint',
      tags: [
        { name: 'fileversion', value: u32(12) },
        { name: 'ProductName', block: text('vmssfs example', 256) },
        { name: 'VersionNumber', block: text('1.0.0', 256) },
        { name: 'BuildNumber', block: text('build-1', 256) },
        { name: 'Platform', value: u32(1) },
        { name: 'usageMode', value: u32(1) },
        { name: 'memSize', value: u32(MEMORY_SIZE / 2 ** 20) },
        { name: 'maxFBSize', value: u32(0x8000000) },
      ],
    },
    { name: 'GuestVars', tags: [{ name: 'guestvars.numvars', value: u16(0) }] },
    { name: 'cpu', tags: makeCpuTags() },
    {
      name: 'memory',
      tags: [
        { name: 'align_mask', indices: [0, 0], value: u32(0xffff) },
        { name: 'regionsCount', value: u32(REGIONS.length) },
        ...REGIONS.flatMap(({ pageNum, ppn, pageCount }, region): TagSpec[] => [
          { name: 'regionPageNum', indices: [region], value: u64(pageNum) },
          { name: 'regionPPN', indices: [region], value: u64(ppn) },
          { name: 'regionSize', indices: [region], value: u64(pageCount) },
        ]),
        { name: 'MainMemPageZeroStateSize', value: u64(knownZero.length) },
        { name: 'MainMemKnownZero', block: knownZero },
      ],
    },
    {
      name: 'MStats',
      tags: [
        { name: 'vm.suspendTime.clientData', indices: [0, 0], block: u64(0) },
        // Genuine files have this one twice.
        { name: 'vm.suspendTime.clientData', indices: [0, 0], block: u64(1) },
      ],
    },
    { name: 'Snapshot', tags: [{ name: 'cfgFile', block: text(CONFIGURATION) }] },
    { name: 'Tools Install', tags: [{ name: 'state', value: u32(0) }] },
    {
      name: 'vide',
      tags: [
        { name: 'BM cmdReg', indices: [0], value: u8(8) },
        { name: 'features', indices: [0], value: u8(0) },
        { name: 'features', indices: [0, 1], value: u8(1) },
        { name: 'driveid', indices: [0, 0], block: text('vmssfs example disk', 512) },
      ],
    },
    {
      name: 'nvme0:0',
      tags: [
        { name: 'present', value: u8(1) },
        { name: 'capacity', value: u64(64 * 2 ** 30) },
      ],
    },
    { name: 'pciBridge4:1', tags: [] },
    {
      name: 'usb_xhci',
      tags: [
        { name: 'rc.begin', value: u32(4) },
        ...[0, 1, 2, 3].map((ring) => ({ name: 'rc.begin', indices: [ring], value: u32(0x1000 + ring * 0x100) })),
      ],
    },
    {
      name: 'MKSVMX',
      tags: [
        { name: 'checkpoint.mks.screenshot', indices: [0], block: new Uint8Array() },
        { name: 'imageData', block: drawScreen() },
      ],
    },
  ]
}

const CONFIGURATION = `.encoding = "UTF-8"
config.version = "8"
virtualHW.version = "19"
displayName = "vmssfs example – ein Beispiel für alle Fälle"
guestOS = "windows7-64"
memsize = "${MEMORY_SIZE / 2 ** 20}"
numvcpus = "2"
cpuid.coresPerSocket = "1"
nvme0.present = "TRUE"
nvme0:0.present = "TRUE"
nvme0:0.fileName = "example.vmdk"
usb_xhci.present = "TRUE"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "e1000e"
ethernet0.addressType = "generated"
ethernet0.generatedAddress = "00:0c:29:00:00:01"
uuid.bios = "56 4d 00 00 00 00 00 00-00 00 00 00 00 00 00 01"
checkpoint.vmState = "example.vmss"
`
