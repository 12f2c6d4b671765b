/** Every way in: whichever file of a machine one is given, and what is said where there is a choice or a guess. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  EvidenceError,
  type EvidenceErrorCode,
  type File,
  type Guest,
  lookup,
  openCheckpoint,
  planTree,
  read,
  sizeOf,
} from '../src/index.ts'
import { type TagSpec, text, u32, u64, writeCheckpoint, writeSparse } from './support/checkpoint.ts'

const GIBIBYTE = 2 ** 30
const MEBIBYTE = 2 ** 20

describe('inputs', () => {
  let directory = ''
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'vmssfs-inputs-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  const at = (name: string) => join(directory, name)

  function checkpoint(name: string, memSize: number): string {
    writeCheckpoint(at(name), {
      groups: [
        { name: 'Checkpoint', tags: [{ name: 'memSize', value: u32(memSize) }] },
        { name: 'memory', tags: [] },
        { name: 'cpu', tags: [{ name: 'rip', indices: [0], value: u64(0x1000) }] },
        { name: 'Snapshot', tags: [{ name: 'cfgFile', block: text(`displayName = "${name}"\n`) }] },
      ],
    })
    return at(name)
  }

  function vmem(name: string, size: number): string {
    writeSparse(at(name), { size, pieces: [{ offset: size - 4, bytes: Buffer.from('last') }] })
    return at(name)
  }

  /** Opens, tells, and closes. */
  function open(path: string, options?: Parameters<typeof openCheckpoint>[1]): Summary {
    const guest = openCheckpoint(path, options)
    try {
      return summary(guest)
    } finally {
      guest.close()
    }
  }

  function refused(path: string, options?: Parameters<typeof openCheckpoint>[1]): EvidenceError {
    try {
      openCheckpoint(path, options).close()
    } catch (error) {
      assert.ok(error instanceof EvidenceError, String(error))
      return error
    }
    return assert.fail(`${path} was opened`)
  }

  test('from a checkpoint to its .vmem, in any mixture of cases', { timeout: 60_000 }, () => {
    checkpoint('guest.vmss', 1)
    vmem('guest.VMEM', MEBIBYTE)
    assert.equal(open(at('guest.vmss')).memory, 'guest.VMEM')
    vmem('guest.vmem', MEBIBYTE)
    assert.equal(open(at('guest.vmss')).memory, 'guest.vmem')
  })

  test('--vmem names the memory, whatever it is called', { timeout: 60_000 }, () => {
    checkpoint('guest.vmss', 1)
    mkdirSync(at('elsewhere'))
    const object = vmem('elsewhere/21347668-e2cf', MEBIBYTE)
    assert.deepEqual(open(at('guest.vmss'), { vmem: object }), {
      checkpoint: 'guest.vmss',
      memory: '21347668-e2cf',
      size: MEBIBYTE,
      notes: [],
      problems: 0,
    })
  })

  test('a missing .vmem is an error that names it, unless memory is not wanted', { timeout: 60_000 }, () => {
    checkpoint('guest.vmss', 1)
    const error = refused(at('guest.vmss'))
    assert.equal(error.code, 'companion-missing')
    assert.ok(error.message.includes(at('guest.vmem')), error.message)
    assert.equal(open(at('guest.vmss'), { memory: false }).memory, undefined)
  })

  test('from a .vmem to its checkpoint', { timeout: 60_000 }, () => {
    vmem('guest.vmem', MEBIBYTE)
    checkpoint('guest.VMSN', 1)
    assert.equal(open(at('guest.vmem')).checkpoint, 'guest.VMSN')
  })

  test('of two checkpoints beside a .vmem the one whose memory has its size', { timeout: 60_000 }, () => {
    vmem('guest.vmem', 2 * MEBIBYTE)
    checkpoint('guest.vmss', 1)
    checkpoint('guest.vmsn', 2)
    const fitting = open(at('guest.vmem'))
    assert.equal(fitting.checkpoint, 'guest.vmsn')
    assert.match(fitting.notes.join(), /guest\.vmsn is used: it has that memory's size/)
    checkpoint('guest.vmss', 2)
    const tied = open(at('guest.vmem'))
    assert.equal(tied.checkpoint, 'guest.vmss')
    assert.match(tied.notes.join(), /guest\.vmss is used: its size does not tell/)
    // Regions count more than memSize: they say what the image must have.
    writeCheckpoint(at('guest.vmss'), { groups: [{ name: 'memory', tags: oneRegion(256) }] })
    assert.equal(open(at('guest.vmem')).checkpoint, 'guest.vmsn')
  })

  test('memory of another size is noticed, with both sizes', { timeout: 60_000 }, () => {
    checkpoint('guest.vmss', 4)
    vmem('guest.vmem', 3 * MEBIBYTE)
    const guest = openCheckpoint(at('guest.vmss'))
    assert.deepEqual(
      guest.problems.map(({ finding }) => [basename(finding.file), finding.expected, finding.found]),
      [
        [
          'guest.vmem',
          'a memory image of 4194304 bytes, as its regions need',
          '3145728 bytes: is it of this checkpoint?',
        ],
      ],
    )
    guest.close()
  })

  test('a .vmem alone lies flat up to 3 GiB, and is split above, which is said', { timeout: 60_000 }, () => {
    vmem('small.vmem', 3 * GIBIBYTE)
    const small = open(at('small.vmem'))
    assert.deepEqual([small.checkpoint, small.size], [undefined, 3 * GIBIBYTE])
    assert.match(small.notes.join(), /assumed/)

    vmem('large.vmem', 5 * GIBIBYTE)
    const guest = openCheckpoint(at('large.vmem'))
    const root = planTree(guest)
    const physmem = lookup(root, 'physmem.raw') as File
    assert.equal(sizeOf(physmem.extents), 6 * GIBIBYTE)
    assert.equal(contentsAt(physmem, 6 * GIBIBYTE - 4, 4), 'last')
    assert.match(guest.notes.join(), /assumed: an x86 machine/)
    assert.match(contentsAt(lookup(root, 'meta/memory-map.txt') as File, 0, 17), /^# assumed: an x86/)
    assert.deepEqual([...root.entries.keys()], ['physmem.raw', 'physmem.elf', 'physmem.lime', 'meta'])
    guest.close()
    assert.equal(open(at('large.vmem'), { flat: true }).size, 5 * GIBIBYTE)
    assert.equal(refused(at('large.vmem'), { memory: false }).code, 'absent')
  })

  describe('the folder of a machine', () => {
    const VMSD = `.encoding = "UTF-8"
snapshot.lastUID = "7"
snapshot0.uid = "3"
snapshot0.filename = "vm-Snapshot3.vmsn"
snapshot0.displayName = "before"
snapshot0.createTimeHigh = "336295"
snapshot0.createTimeLow = "1080846290"
snapshot1.uid = "7"
snapshot1.filename = "/vmfs/volumes/x/vm-Snapshot7.vmsn"
snapshot1.displayName = "after"
snapshot1.description = "\x1b[31mred"
snapshot1.parent = "3"
`
    function machine(): void {
      writeFileSync(at('vm.vmx'), 'displayName = "vm"\n')
      writeFileSync(at('vm.vmsd'), VMSD)
      for (const name of ['vm-Snapshot3', 'vm-Snapshot7']) {
        checkpoint(`${name}.vmsn`, 1)
        vmem(`${name}.vmem`, MEBIBYTE)
      }
      checkpoint('other.vmss', 1)
      vmem('other.vmem', MEBIBYTE)
    }

    test('has nothing, one checkpoint, or memory alone', { timeout: 60_000 }, () => {
      assert.equal(refused(directory).code, 'not-a-checkpoint')
      vmem('vm.vmem', MEBIBYTE)
      assert.equal(open(directory).memory, 'vm.vmem')
      checkpoint('vm.vmss', 1)
      assert.equal(open(directory).checkpoint, 'vm.vmss')
      assert.match(open(directory).notes.join(), /vm\.vmss is used, the only checkpoint/)
    })

    test('lists its checkpoints where there are several', { timeout: 60_000 }, () => {
      machine()
      const { code, hint, finding } = refused(directory)
      assert.equal(code, 'ambiguous')
      assert.match(hint ?? '', /--snapshot/)
      assert.deepEqual(finding.choices, [
        'other.vmss',
        'vm-Snapshot3.vmsn: "before", uid 3, 2015-10-09T07:51:47.654Z',
        'vm-Snapshot7.vmsn: "after", uid 7, on top of "before", "\x1b[31mred"',
      ])
    })

    test('gives the snapshot that is asked for, by name, uid or file', { timeout: 60_000 }, () => {
      machine()
      for (const path of [directory, at('vm.vmx'), at('vm.vmsd')]) {
        for (const snapshot of ['after', '7', 'vm-Snapshot7.vmsn']) {
          assert.equal(open(path, { snapshot }).checkpoint, 'vm-Snapshot7.vmsn', `${path} ${snapshot}`)
        }
        assert.equal(refused(path, { snapshot: 'never' }).code, 'ambiguous')
      }
    })

    test('a .vmx and a .vmsd stand for their own machine', { timeout: 60_000 }, () => {
      machine()
      assert.equal(refused(at('vm.vmx')).finding.choices?.length, 2)
      rmSync(at('vm-Snapshot7.vmsn'))
      assert.equal(open(at('vm.vmx')).checkpoint, 'vm-Snapshot3.vmsn')
      assert.equal(open(at('vm.vmsd')).checkpoint, 'vm-Snapshot3.vmsn')
    })
  })

  test('what is recognised and not ours to read', { timeout: 60_000 }, () => {
    const encryptedHead = Buffer.concat([u32(0x8943dd9e), Buffer.alloc(4092)])
    const guest = checkpoint('guest.vmss', 1)
    const beside = (bytes: Uint8Array) => {
      file('guest.vmem', bytes)
      return guest
    }
    const cases: [string, () => string, EvidenceErrorCode][] = [
      ['an encrypted checkpoint', () => file('secret.vmss', encryptedHead), 'encrypted'],
      ['encrypted memory', () => beside(encryptedHead), 'encrypted'],
      ['an encrypted machine', () => file('vm.vmx', Buffer.from('encryption.keySafe = "vmware:key"\n')), 'encrypted'],
      ['compressed memory', () => beside(compressedMemory()), 'unsupported'],
      ['the dump of a monitor', () => file('debug.guest', Buffer.alloc(64)), 'unsupported'],
    ]
    for (const [what, make, code] of cases) {
      assert.equal(refused(make()).code, code, what)
    }
  })

  test('memory that only begins like a compressed record is memory', { timeout: 60_000 }, () => {
    file('guest.vmem', Buffer.concat([compressedMemory().subarray(0, 16), Buffer.alloc(MEBIBYTE - 16, 1)]))
    checkpoint('guest.vmss', 1)
    assert.equal(open(at('guest.vmss')).problems, 0)
  })

  for (const [what, change] of [
    ['grows', (path: string) => writeFileSync(path, Buffer.alloc(2 * MEBIBYTE))],
    ['is written to', (path: string) => utimesSync(path, 1, 1)],
    ['is replaced', replaceByCopy],
    ['vanishes', (path: string) => renameSync(path, `${path}.gone`)],
  ] as const) {
    test(`evidence that ${what} is noticed, said once and read no more`, { timeout: 60_000 }, async () => {
      checkpoint('guest.vmss', 1)
      vmem('guest.vmem', MEBIBYTE)
      const guest = openCheckpoint(at('guest.vmss'))
      const said: string[] = []
      for (const evidence of guest.evidence) {
        evidence.onChange = ({ message }) => said.push(message)
      }
      const physmem = lookup(planTree(guest), 'physmem.raw') as File
      assert.equal(contentsAt(physmem, MEBIBYTE - 4, 4), 'last')
      change(at('guest.vmem'))
      // It is looked at no more than once a second.
      await sleep(1_050)
      for (let time = 0; time < 3; time++) {
        assert.throws(
          () => contentsAt(physmem, 0, 4),
          (error: unknown) => error instanceof EvidenceError && error.code === 'changed',
        )
      }
      assert.equal(said.length, 1, said.join())
      guest.close()
    })
  }

  function file(name: string, bytes: Uint8Array): string {
    writeFileSync(at(name), bytes)
    return at(name)
  }
})

/** The same bytes and the same times, but another file. */
function replaceByCopy(path: string): void {
  const { atime, mtime } = statSync(path)
  renameSync(path, `${path}.old`)
  copyFileSync(`${path}.old`, path)
  utimesSync(path, atime, mtime)
}

interface Summary {
  checkpoint: string | undefined
  memory: string | undefined
  size: number
  notes: readonly string[]
  problems: number
}

function summary(guest: Guest): Summary {
  const physmem = lookup(planTree(guest), 'physmem.raw') as File | undefined
  return {
    checkpoint: guest.checkpoint && basename(guest.checkpoint.file.path),
    memory: guest.memory && basename(guest.memory.image.file.path),
    size: physmem ? sizeOf(physmem.extents) : 0,
    notes: guest.notes,
    problems: guest.problems.length,
  }
}

function contentsAt(file: File, offset: number, size: number): string {
  const target = Buffer.alloc(size)
  return target.subarray(0, read(file.extents, target, offset)).toString()
}

function oneRegion(pages: number): TagSpec[] {
  const value = (name: string, number: number): TagSpec => ({ name, indices: [0], value: u64(number) })
  return [
    { name: 'regionsCount', value: u32(1) },
    value('regionPageNum', 0),
    value('regionPPN', 0),
    value('regionSize', pages),
  ]
}

/** Two records: 4 MiB that take 100 bytes, then 4 MiB that take 50. */
function compressedMemory(): Buffer {
  const record = (stored: number) => [u32(4 * MEBIBYTE), u32(0), u32(stored), u32(0), Buffer.alloc(stored, 0x21)]
  return Buffer.concat([...record(100), ...record(50)])
}
