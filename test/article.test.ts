/**
 * The listing that the article "VMware Snapshot and Saved State Analysis" (2013) prints of a file of ESX 4.1: the offsets of its
 * data follow from the sizes of headers, names and indices, so they test that arithmetic on a file that nobody here has.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openCheckpoint } from '../src/index.ts'
import { writeListing } from './support/listing.ts'

const GROUPS = 92

/** Between `halted` and the control registers are tags that the article does not print; a block stands for them. */
const UNPRINTED_END = 0x5ede

const LISTING = `
u32 0xbad1bad1  u32 8  u32 ${GROUPS}
text 64 "Checkpoint"  u64 0x1ccc  u64 checkpointEnd-0x1ccc
text 64 "cpu"  u64 checkpointEnd  u64 cpuEnd-checkpointEnd
${Array.from({ length: GROUPS - 2 }, (_, index) => `text 64 "empty${index}"  u64 cpuEnd+${2 * index}  u64 2`).join('\n')}

=0x1ccc
04 0b "fileversion"    u32 10
3f 0b "ProductName"    u64 0x100 u64 0x100 u16 0  text 0x100 "VMware ESX"
3f 0d "VersionNumber"  u64 0x100 u64 0x100 u16 0  text 0x100 "4.1.0"
3f 0b "BuildNumber"    u64 0x100 u64 0x100 u16 0  text 0x100 "build-260247"
04 08 "Platform"       u32 1
04 09 "usageMode"      u32 1
04 07 "memSize"        u32 6144
04 09 "maxFBSize"      u32 0x800000
00 00
checkpointEnd:
04 0c "cpu:numVCPUs"   u32 1
44 06 "eflags" u32 0   u32 0x202
48 03 "rip"    u32 0   u64 0xfffff80002c1c0ba
44 03 "eip"    u32 0   u32 0x2c1c0ba
41 06 "halted" u32 0   u8 1
3f 09 "unprinted"      u64 unprintedEnd-unprinted u64 unprintedEnd-unprinted u16 0
unprinted:
@${UNPRINTED_END}
unprintedEnd:
${[0, 1, 2, 3, 4].map((n) => `84 02 "CR" u32 0 u32 ${n}  u32 ${n}`).join('\n')}
${[0, 1, 2, 3, 4, 5, 6, 7].map((n) => `88 04 "DR64" u32 0 u32 ${n}  u64 ${n}  84 02 "DR" u32 0 u32 ${n}  u32 ${n}`).join('\n')}
82 04 "GDTR" u32 0 u32 0  u16 0x7f
00 00
cpuEnd:
fill ${2 * (GROUPS - 2) + 2} 0
`

/** Offsets of the data, as the article prints them. */
const PRINTED: Record<string, number> = {
  'Checkpoint/fileversion': 0x1cd9,
  'Checkpoint/ProductName': 0x1cfc,
  'Checkpoint/VersionNumber': 0x1e1d,
  'Checkpoint/Platform': 0x2046,
  'Checkpoint/usageMode': 0x2055,
  'Checkpoint/memSize': 0x2062,
  'Checkpoint/maxFBSize': 0x2071,
  'cpu/cpu:numVCPUs': 0x2085,
  'cpu/eflags[0]': 0x2095,
  'cpu/rip[0]': 0x20a2,
  'cpu/eip[0]': 0x20b3,
  'cpu/halted[0]': 0x20c3,
  'cpu/DR64[0][0]': 0x5f3c,
  'cpu/DR64[0][1]': 0x5f3c + 0x26,
  'cpu/DR64[0][7]': 0x5f3c + 7 * 0x26,
}

test('the offsets of the article follow from the format', { timeout: 60_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'vmssfs-article-'))
  try {
    writeFileSync(join(directory, 'listing'), LISTING)
    writeListing(join(directory, 'listing'), join(directory, 'esx.vmss'))
    const { checkpoint, close } = openCheckpoint(join(directory, 'esx.vmss'))
    assert.ok(checkpoint)
    const offsets = new Map<string, number>()
    for (const group of checkpoint.groups) {
      for (const { name, indices, offset } of group.tags) {
        offsets.set(`${group.name}/${name}${indices.map((index) => `[${index}]`).join('')}`, offset)
      }
    }
    close()
    assert.equal(checkpoint.state, 'RESTORED')
    assert.equal(checkpoint.groups.length, GROUPS)
    assert.deepEqual(Object.fromEntries(Object.keys(PRINTED).map((path) => [path, offsets.get(path)])), PRINTED)
    assert.equal((offsets.get('cpu/CR[0][1]') ?? 0) - (offsets.get('cpu/CR[0][0]') ?? 0), 16)
  } finally {
    rmSync(directory, { recursive: true })
  }
})
