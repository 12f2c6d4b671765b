import { type Checkpoint, parseCheckpoint, type Tag } from '../checkpoint/parse.ts'
import { EvidenceError } from '../evidence/errors.ts'
import { type EvidenceFile, openEvidence } from '../evidence/file.ts'
import { type Choice, chooseEvidence } from './choose.ts'
import { type Cpu, readCpus } from './cpus.ts'
import { openImage, openVmem } from './image.ts'
import { type Memory, planBareMemory, planMemory } from './memory.ts'
import { isArm64 } from './regions.ts'
import { findScreenshot } from './screenshot.ts'

/** What the guest's processors are; x86 unless the checkpoint says otherwise. */
export type Architecture = 'x86' | 'arm64'

/** A guest as the evidence keeps it. */
export interface Guest {
  /** Undefined if there is nothing but memory. */
  readonly checkpoint: Checkpoint | undefined
  /** Undefined if the evidence has none, or it was not asked for. */
  readonly memory: Memory | undefined
  readonly screenshot: Tag | undefined
  readonly architecture: Architecture
  /** Those whose registers the evidence has. */
  readonly cpus: readonly Cpu[]
  /** Every file that is open, the one with the tags first. */
  readonly evidence: readonly EvidenceFile[]
  /** What was chosen or assumed and should be known, for people. */
  readonly notes: readonly string[]
  /** Everything that is wrong with the evidence and did not stop us, in the order in which it was found. */
  readonly problems: readonly EvidenceError[]
  /** Closes the evidence; nothing can be read from then on. */
  close(): void
}

export interface OpenOptions {
  /** The file that holds the memory, where it is not found by its name. */
  readonly vmem?: string | undefined
  /** `false`: do without the memory, wherever it is. */
  readonly memory?: boolean | undefined
  /** The name, uid or file of the snapshot that is meant, where a machine has several. */
  readonly snapshot?: string | undefined
  /** Memory without a checkpoint lies flat from address 0 on, whatever its size. */
  readonly flat?: boolean | undefined
}

/**
 * Opens the evidence of a guest, given any one file of it, or the folder of its machine: a checkpoint with its memory, a
 * checkpoint without, or memory alone.
 *
 * @throws EvidenceError of every code; nothing stays open then.
 */
export function openCheckpoint(path: string, options: OpenOptions = {}): Guest {
  const evidence: EvidenceFile[] = []
  const close = () => {
    for (const file of evidence) {
      file.close()
    }
  }
  try {
    const choice = chooseEvidence(path, options.snapshot)
    const { checkpoint, memory, notes } = openChosen(choice, options, evidence)
    const screenshot = checkpoint === undefined ? {} : findScreenshot(checkpoint)
    const { cpus, problems: cpuProblems } = checkpoint === undefined ? { cpus: [], problems: [] } : readCpus(checkpoint)
    const architecture = checkpoint !== undefined && isArm64(checkpoint) ? 'arm64' : 'x86'
    const found = [checkpoint?.problems, memory?.problems, screenshot.problem, cpuProblems]
    if (checkpoint !== undefined && memory !== undefined && cpus.length === 0) {
      found.push(withoutCpus(checkpoint.file))
    }
    const problems = found.flat().filter((problem) => problem !== undefined)
    return { checkpoint, memory, screenshot: screenshot.tag, architecture, cpus, evidence, notes, problems, close }
  } catch (error) {
    close()
    throw error
  }
}

/** Opens what was chosen, and puts every file into `evidence` as soon as it is open. */
function openChosen(
  choice: Choice,
  options: OpenOptions,
  evidence: EvidenceFile[],
): Pick<Guest, 'checkpoint' | 'memory' | 'notes'> {
  const { flat = false } = options
  const notes = [...choice.notes]
  let checkpoint: Checkpoint | undefined
  if (choice.checkpoint !== undefined) {
    const file = openEvidence(choice.checkpoint)
    evidence.push(file)
    checkpoint = parseCheckpoint(file)
  }
  if (options.memory === false) {
    if (checkpoint === undefined) {
      const found = 'memory alone, which is not wanted'
      throw new EvidenceError({ code: 'absent', file: choice.vmem ?? '', expected: 'a checkpoint', found })
    }
    return { checkpoint, memory: undefined, notes }
  }
  const vmem = options.vmem ?? choice.vmem
  const image = vmem !== undefined ? openVmem(vmem) : checkpoint && openImage(checkpoint)
  if (image === undefined) {
    return { checkpoint, memory: undefined, notes }
  }
  if (image.file !== checkpoint?.file) {
    evidence.push(image.file)
  }
  if (checkpoint !== undefined) {
    if (flat) {
      notes.push('--flat changes nothing: the checkpoint says where the memory lies')
    }
    return { checkpoint, memory: planMemory(checkpoint, image), notes }
  }
  const memory = planBareMemory(image, flat)
  notes.push(`${image.file.path}: assumed: ${memory.assumption}`)
  return { checkpoint, memory, notes }
}

/** Memory without the state of its CPUs: physmem.elf has no notes then, by which tools find the page tables. */
function withoutCpus(file: EvidenceFile): EvidenceError {
  return new EvidenceError({
    code: 'absent',
    file: file.path,
    expected: 'registers of vCPUs for physmem.elf',
    found: 'none',
  })
}
