import { type Checkpoint, findTag, type Tag } from '../checkpoint/parse.ts'
import { EvidenceError } from '../evidence/errors.ts'

const PNG_SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

/** The picture of the guest's screen, or why what should be one is not shown. Both undefined if there is none. */
export interface Screenshot {
  readonly tag?: Tag
  readonly problem?: EvidenceError
}

/** Finds the picture that VMware keeps in `MKSVMX/imageData`, and checks that it begins as a PNG. */
export function findScreenshot(checkpoint: Checkpoint): Screenshot {
  const tag = findTag(checkpoint, 'MKSVMX', 'imageData')
  if (tag === undefined || tag.size === 0) {
    return {}
  }
  const { file } = checkpoint
  const finding = { file: file.path, offset: tag.offset, expected: 'a PNG in MKSVMX/imageData' }
  if (tag.kind === 'compressed') {
    return { problem: new EvidenceError({ ...finding, code: 'unsupported', found: 'a compressed block' }) }
  }
  const signature = Buffer.alloc(Math.min(PNG_SIGNATURE.length, tag.size))
  try {
    file.read(signature, tag.offset)
  } catch (error) {
    if (error instanceof EvidenceError) {
      return { problem: error }
    }
    throw error
  }
  if (!signature.equals(PNG_SIGNATURE)) {
    const found = `the bytes ${signature.toString('hex')}`
    return { problem: new EvidenceError({ ...finding, code: 'damaged', found }) }
  }
  return { tag }
}
