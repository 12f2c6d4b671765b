import { findCheckpoints } from '../checkpoint/companions.ts'
import { type Checkpoint, parseCheckpoint, type Tag } from '../checkpoint/parse.ts'
import { EvidenceError } from '../evidence/errors.ts'
import { type EvidenceFile, openEvidence } from '../evidence/file.ts'
import { type Image, type Memory, openImage, planMemory } from './memory.ts'
import { findScreenshot } from './screenshot.ts'

/** A guest as the evidence keeps it. */
export interface Guest {
  /** Undefined if there is nothing but memory. */
  readonly checkpoint: Checkpoint | undefined
  /** Undefined if the evidence has none, or it was not asked for. */
  readonly memory: Memory | undefined
  readonly screenshot: Tag | undefined
  /** Every file that was opened, the one with the tags first. */
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
}

/**
 * Opens a .vmss or .vmsn, or the folder of a machine that has one, together with its memory.
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
    const file = openEvidence(chooseCheckpoint(path))
    evidence.push(file)
    const checkpoint = parseCheckpoint(file)
    const image = options.memory === false ? undefined : openImage(checkpoint, options.vmem)
    if (image !== undefined && image.file !== file) {
      evidence.push(image.file)
    }
    return { ...describeGuest(checkpoint, image), evidence, notes: [], close }
  } catch (error) {
    close()
    throw error
  }
}

function describeGuest(
  checkpoint: Checkpoint,
  image: Image | undefined,
): Pick<Guest, 'checkpoint' | 'memory' | 'screenshot' | 'problems'> {
  const memory = image && planMemory(checkpoint, image)
  const screenshot = findScreenshot(checkpoint)
  const problems = [...checkpoint.problems, ...(memory?.problems ?? [])]
  if (screenshot.problem !== undefined) {
    problems.push(screenshot.problem)
  }
  return { checkpoint, memory, screenshot: screenshot.tag, problems }
}

function chooseCheckpoint(path: string): string {
  const [checkpoint, ...others] = findCheckpoints(path)
  if (checkpoint === undefined) {
    throw new EvidenceError({
      code: 'not-a-checkpoint',
      file: path,
      expected: 'a .vmss or .vmsn in the folder',
      found: 'none',
    })
  }
  if (others.length > 0) {
    throw new EvidenceError({
      code: 'ambiguous',
      file: path,
      expected: 'one .vmss or .vmsn in the folder',
      found: `${others.length + 1}`,
      hint: `give one of them: ${[checkpoint, ...others].join(', ')}`,
    })
  }
  return checkpoint
}
