/**
 * Files that VMware wrote, and the memory of a real guest. They are other people's, so they are not in here: the tests look
 * for them in the folder that VMSSFS_SAMPLES names, or beside the checkout, and are skipped where it is absent.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { type File, lookup, openCheckpoint, planTree, read, sizeOf } from '../src/index.ts'
import { type TagSpec, u32, u64, writeCheckpoint, writeSparse } from './support/checkpoint.ts'
import { mounted, mountSkip } from './support/mount.ts'

const TOP = fileURLToPath(new URL('../../', import.meta.url))
const SAMPLES = resolve(TOP, process.env['VMSSFS_SAMPLES'] ?? '../shared/samples')
const skip = existsSync(SAMPLES) ? false : `there are no genuine files in ${SAMPLES}`

/** The memory of the guest in linux-guest/, as its README says. */
const LINUX_GUEST_SHA256 = 'fed6a44d97e909116d147dbd898fe57dfb3bee120ddc979827bc48ed4951d2d5'

describe('genuine files', { skip }, () => {
  for (const name of ['player12-suspend.vmss', 'powered-off.vmsn']) {
    test(`${name}: every tag is where another parser finds it`, { timeout: 60_000 }, () => {
      const { checkpoint, problems, close } = openCheckpoint(join(SAMPLES, name), { memory: false })
      assert.ok(checkpoint)
      const lines = [`magic 0x${checkpoint.magic.toString(16)} groups ${checkpoint.groups.length}`]
      for (const group of checkpoint.groups) {
        for (const tag of group.tags) {
          const path = `${group.name}/${tag.name}${tag.indices.map((index) => `[${index}]`).join('')}`
          lines.push(`0x${tag.offset.toString(16)}\t0x${tag.size.toString(16)}\t${path}`)
        }
      }
      lines.push(`tags ${lines.length - 1}`)
      close()
      const expected = readFileSync(join(SAMPLES, name.replace(/\.\w+$/, '.tags.txt')), 'utf8')
      assert.deepEqual(lines, expected.trimEnd().split('\n'))
      assert.deepEqual(problems, [])
    })
  }

  test('player12-suspend.vmss: screen, flat memory, repeated names', { timeout: 60_000 }, () => {
    const directory = mkdtempSync(join(tmpdir(), 'vmssfs-genuine-'))
    try {
      // Its .vmem is not at hand; the size of it is known.
      symlinkSync(join(SAMPLES, 'player12-suspend.vmss'), join(directory, 'guest.vmss'))
      writeSparse(join(directory, 'guest.vmem'), { size: 67_108_864, pieces: [] })
      const guest = openCheckpoint(join(directory, 'guest.vmss'))
      const root = planTree(guest)
      assert.deepEqual(guest.problems, [])
      assert.equal(sizeOf((lookup(root, 'physmem.raw') as File).extents), 67_108_864)
      const screenshot = contentsOf(lookup(root, 'screenshot.png') as File)
      assert.equal(screenshot.subarray(1, 4).toString(), 'PNG')
      assert.deepEqual([screenshot.readUInt32BE(16), screenshot.readUInt32BE(20)], [720, 400])
      assert.equal(contentsOf(lookup(root, 'groups/cpu/rip[0]') as File).toString(), '0x25b2\n')
      for (const path of ['MStats/vm.suspendTime.clientData[0][0]~2', 'MKSVMX/checkpoint.mks.screenshot[0]']) {
        assert.equal(lookup(root, `raw/${path}`)?.kind, 'file', path)
      }
      guest.close()
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  test('powered-off.vmsn mounts without memory', { skip: mountSkip, timeout: 60_000 }, () =>
    mounted(join(SAMPLES, 'powered-off.vmsn'), [], (mountpoint) => {
      assert.equal(existsSync(join(mountpoint, 'physmem.raw')), false)
      assert.match(readFileSync(join(mountpoint, 'config.vmx'), 'latin1'), /^\.encoding = /)
    }),
  )

  test('the memory of a real guest comes back, inline and from a .vmem', {
    skip: mountSkip,
    timeout: 120_000,
  }, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'vmssfs-genuine-'))
    try {
      const memory = gunzipSync(readFileSync(join(SAMPLES, 'linux-guest', 'physmem.raw.gz')))
      const regions = halves(memory.length)
      writeCheckpoint(join(directory, 'inline.vmss'), {
        groups: [{ name: 'memory', tags: [...regions, { name: 'Memory', indices: [0, 0], block: memory, pad: 4242 }] }],
      })
      writeCheckpoint(join(directory, 'split.vmss'), { groups: [{ name: 'memory', tags: regions }] })
      writeCheckpoint(join(directory, 'flat.vmss'), { groups: [{ name: 'memory', tags: [] }] })
      writeFileSync(join(directory, 'split.vmem'), memory)
      symlinkSync('split.vmem', join(directory, 'flat.vmem'))
      for (const name of ['inline.vmss', 'split.vmss', 'flat.vmss']) {
        await mounted(join(directory, name), [], async (mountpoint) => {
          assert.equal(await sha256Of(join(mountpoint, 'physmem.raw')), LINUX_GUEST_SHA256, name)
        })
      }
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

/** Two regions that join, so that the memory is cut in its middle and yet the same. */
function halves(size: number): TagSpec[] {
  const half = size / 2 / 4096
  const region = (index: number, page: number): TagSpec[] => [
    { name: 'regionPageNum', indices: [index], value: u64(page) },
    { name: 'regionPPN', indices: [index], value: u64(page) },
    { name: 'regionSize', indices: [index], value: u64(half) },
  ]
  return [{ name: 'regionsCount', value: u32(2) }, ...region(0, 0), ...region(1, half)]
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) {
    hash.update(chunk)
  }
  return hash.digest('hex')
}

function contentsOf(file: File): Buffer {
  const target = Buffer.alloc(sizeOf(file.extents))
  read(file.extents, target, 0)
  return target
}
