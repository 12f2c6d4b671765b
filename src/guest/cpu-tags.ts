import type { Checkpoint, Tag } from '../checkpoint/parse.ts'
import { numberOf } from '../checkpoint/values.ts'
import { EvidenceError, hex } from '../evidence/errors.ts'
import type { EvidenceFile } from '../evidence/file.ts'

/** How the tags of ARM64 machines begin. */
const HYPERVISOR_PREFIX = 'hv:'

/** Tags that only a vCPU has which was there: whoever has one of them counts. */
const SIGNS_OF_LIFE = ['rip', 'eip', 'gpregs', 'rax', 'eax', 'CR64', 'CR', 'halted']

/** The tags of the group `cpu`, by name and indices, of which the first is the vCPU. */
export class CpuTags {
  readonly problems: EvidenceError[] = []
  readonly #file: EvidenceFile
  readonly #tags = new Map<string, Tag>()
  readonly #byCpu = new Map<number, Tag[]>()
  /** Tags that another of the same name and indices contradicts, and that other one. */
  readonly #contradictions = new Map<Tag, Tag>()
  readonly #blocks = new Map<Tag, Buffer | undefined>()

  constructor(checkpoint: Checkpoint) {
    this.#file = checkpoint.file
    for (const { tags } of checkpoint.groups.filter(({ name }) => name === 'cpu')) {
      for (const tag of tags) {
        this.#add(tag)
      }
    }
  }

  /** The numbers of the vCPUs that have registers here, ascending. */
  cpus(): number[] {
    const hasRegisters = ({ name }: Tag) => SIGNS_OF_LIFE.includes(name) || name.startsWith(HYPERVISOR_PREFIX)
    const numbers = [...this.#byCpu].filter(([, tags]) => tags.some(hasRegisters)).map(([cpu]) => cpu)
    return numbers.sort((a, b) => a - b)
  }

  /** An inline value of 1, 2, 4 or 8 bytes. */
  number(name: string, ...indices: number[]): bigint | undefined {
    const tag = this.#tags.get(keyOf(name, indices))
    const value = tag && numberOf(tag)
    if (tag === undefined || value === undefined) {
      return undefined
    }
    const other = this.#contradictions.get(tag)
    if (other !== undefined) {
      this.#contradictions.delete(tag)
      const found = `${hex(numberOf(other) ?? 0)} behind ${hex(value)}, which is used`
      this.report(`one value of "cpu/${keyOf(name, indices)}"`, found, other.offset)
    }
    return BigInt(value)
  }

  /** Word `word` of the 8-byte words of a block; a block of another size than `size` bytes is a problem, and none. */
  word(name: string, cpu: number, word: number, size: number): bigint | undefined {
    return this.block(name, cpu, size)?.readBigUInt64LE(8 * word)
  }

  /** The bytes of a block; one of another size than `size` bytes is a problem, and none. */
  block(name: string, cpu: number, size: number): Buffer | undefined {
    const tag = this.#tags.get(keyOf(name, [cpu]))
    if (tag === undefined || numberOf(tag) !== undefined) {
      return undefined
    }
    if (!this.#blocks.has(tag)) {
      this.#blocks.set(tag, this.#read(tag, size))
    }
    return this.#blocks.get(tag)
  }

  /** The tags `MSR[cpu][number]`, ascending by number. */
  msrs(cpu: number): Map<number, bigint> {
    const found: [number, bigint][] = []
    for (const { name, indices } of this.#byCpu.get(cpu) ?? []) {
      const msr = name === 'MSR' && indices.length === 2 ? indices[1] : undefined
      const value = msr === undefined ? undefined : this.number(name, ...indices)
      if (msr !== undefined && value !== undefined) {
        found.push([msr, value])
      }
    }
    return new Map(found.sort(([a], [b]) => a - b))
  }

  /** The values of an ARM64 vCPU, under VMware's own names. */
  *hypervisorValues(cpu: number): Generator<[string, bigint]> {
    for (const { name, indices } of this.#byCpu.get(cpu) ?? []) {
      const value = name.startsWith(HYPERVISOR_PREFIX) ? this.number(name, ...indices) : undefined
      if (value !== undefined) {
        yield [keyOf(name, indices.slice(1)), value]
      }
    }
  }

  report(expected: string, found: string, offset?: number): void {
    const finding = { code: 'damaged', file: this.#file.path, expected, found } as const
    this.problems.push(new EvidenceError(offset === undefined ? finding : { ...finding, offset }))
  }

  #add(tag: Tag): void {
    const key = keyOf(tag.name, tag.indices)
    const first = this.#tags.get(key)
    if (first === undefined) {
      this.#tags.set(key, tag)
      this.#addToCpu(tag)
      return
    }
    // Genuine files repeat tags; two values of a register that we read are another matter.
    const [value, another] = [numberOf(first), numberOf(tag)]
    if (value !== undefined && another !== undefined && value !== another) {
      this.#contradictions.set(first, tag)
    }
  }

  #addToCpu(tag: Tag): void {
    const [cpu] = tag.indices
    if (cpu !== undefined) {
      const tags = this.#byCpu.get(cpu)
      if (tags === undefined) {
        this.#byCpu.set(cpu, [tag])
      } else {
        tags.push(tag)
      }
    }
  }

  #read(tag: Tag, size: number): Buffer | undefined {
    if (tag.kind === 'compressed' || tag.size !== size) {
      const found = tag.kind === 'compressed' ? 'a compressed block' : `${tag.size}`
      this.report(`${size} bytes of "cpu/${keyOf(tag.name, tag.indices)}"`, found, tag.offset)
      return undefined
    }
    const bytes = Buffer.alloc(size)
    try {
      this.#file.read(bytes, tag.offset)
      return bytes
    } catch (error) {
      if (error instanceof EvidenceError) {
        this.problems.push(error)
        return undefined
      }
      throw error
    }
  }
}

function keyOf(name: string, indices: readonly number[]): string {
  return name + indices.map((index) => `[${index}]`).join('')
}
