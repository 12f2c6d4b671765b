import { EvidenceError, type Finding } from './errors.ts'
import type { Extent, Extents } from './extents.ts'
import { EvidenceFile, type EvidenceHandle } from './file.ts'

/** An extent as plain data: an evidence file is its number in the list beside it. */
type PlainExtent = { readonly start: number; readonly end: number } & (
  | { readonly kind: 'zero' }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'file'; readonly file: number; readonly offset: number }
  | { readonly kind: 'refused'; readonly why: Finding }
)

/** A table of extents that can be handed to another thread of the process. */
export interface PlainExtents {
  readonly files: readonly EvidenceHandle[]
  readonly extents: readonly PlainExtent[]
}

/** The table as plain data. */
export function toPlain(extents: Extents): PlainExtents {
  const files: EvidenceHandle[] = []
  const numbers = new Map<EvidenceFile, number>()
  const numberOf = (file: EvidenceFile) => {
    const number = numbers.get(file) ?? files.push(file.handle) - 1
    numbers.set(file, number)
    return number
  }
  return { extents: extents.map((extent) => plainExtent(extent, numberOf)), files }
}

/** The table again, in another thread. The evidence files, one for each descriptor, come from `known`, and new ones join it. */
export function fromPlain({ extents, files }: PlainExtents, known: Map<number, EvidenceFile>): Extents {
  const here = files.map((handle) => {
    const file = known.get(handle.descriptor) ?? new EvidenceFile(handle)
    known.set(handle.descriptor, file)
    return file
  })
  return extents.map((extent) => extentOf(extent, here))
}

function extentOf(extent: PlainExtent, here: readonly EvidenceFile[]): Extent {
  switch (extent.kind) {
    case 'zero':
    case 'bytes':
      return extent
    case 'file':
      return { ...extent, file: here[extent.file] as EvidenceFile }
    case 'refused':
      return { ...extent, why: new EvidenceError(extent.why) }
  }
}

function plainExtent(extent: Extent, numberOf: (file: EvidenceFile) => number): PlainExtent {
  switch (extent.kind) {
    case 'zero':
    case 'bytes':
      return extent
    case 'file':
      return { ...extent, file: numberOf(extent.file) }
    case 'refused':
      return { ...extent, why: extent.why.finding }
  }
}
