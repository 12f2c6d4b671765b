import { EvidenceError } from './errors.ts'
import type { EvidenceFile } from './file.ts'

/**
 * What a stretch of a file in the tree is made of.
 *
 * - `zero`: a hole, zero by definition
 * - `bytes`: bytes that we made
 * - `file`: a range of an evidence file
 * - `refused`: bytes that should exist and cannot be given; reading them throws `why`, they are never replaced by zeros
 */
export type Source =
  | { readonly kind: 'zero' }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'file'; readonly file: EvidenceFile; readonly offset: number }
  | { readonly kind: 'refused'; readonly why: EvidenceError }

/** A source and how many bytes of it. */
export type Piece = Source & { readonly size: number }

/** A source at its place: the bytes `[start, end)` of the file that the table describes. */
export type Extent = Source & { readonly start: number; readonly end: number }

/** A file of the tree: its extents in order, from 0, without gaps and without empty ones. */
export type Extents = readonly Extent[]

/** Lays pieces one after the other. Empty ones are dropped (a search by offset could stop at them), equal neighbours joined. */
export function compose(pieces: Iterable<Piece>): Extents {
  const extents: Extent[] = []
  let start = 0
  for (const { size, ...source } of pieces) {
    if (size === 0) {
      continue
    }
    const last = extents.at(-1)
    const end = start + size
    if (last !== undefined && continues(last, source)) {
      extents[extents.length - 1] = { ...last, end }
    } else {
      extents.push({ ...source, start, end })
    }
    start = end
  }
  return extents
}

/** The bytes `[offset, offset + size)` of an evidence file; what lies beyond its end is refused as truncated. */
export function rangeOf(file: EvidenceFile, offset: number, size: number): Piece[] {
  const present = Math.min(Math.max(file.size - offset, 0), size)
  const range: Piece = { kind: 'file', file, offset, size: present }
  if (present === size) {
    return [range]
  }
  const why = new EvidenceError({
    code: 'truncated',
    file: file.path,
    offset: offset + present,
    expected: `${size - present} more bytes`,
    found: `the end of the file at ${file.size}`,
  })
  return [range, { kind: 'refused', why, size: size - present }]
}

/** Size in bytes of the file that the table describes. */
export function sizeOf(extents: Extents): number {
  return extents.at(-1)?.end ?? 0
}

/** How many of its bytes exist: neither holes nor refused. */
export function storedSizeOf(extents: Extents): number {
  let stored = 0
  for (const extent of extents) {
    if (extent.kind === 'file' || extent.kind === 'bytes') {
      stored += extent.end - extent.start
    }
  }
  return stored
}

/** The evidence file that a file shows from its first byte to its last, if there is one. */
export function wholeFile([first, ...others]: Extents): EvidenceFile | undefined {
  const isWhole = first?.kind === 'file' && first.offset === 0 && first.end === first.file.size
  return isWhole && others.length === 0 ? first.file : undefined
}

/** Index of the extent that holds `offset`, or the number of extents if it is at or past the end. */
export function locate(extents: Extents, offset: number): number {
  let low = 0
  let high = extents.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((extents[middle] as Extent).end <= offset) {
      low = middle + 1
    } else {
      high = middle
    }
  }
  return low
}

/** The first byte at or after `offset` that is no hole, or undefined if only holes follow. Refused bytes are none. */
export function nextData(extents: Extents, offset: number): number | undefined {
  for (let index = locate(extents, offset); index < extents.length; index++) {
    const extent = extents[index] as Extent
    if (extent.kind !== 'zero') {
      return Math.max(extent.start, offset)
    }
  }
  return undefined
}

/** The first byte at or after `offset` that is a hole, or the end of the file. */
export function nextHole(extents: Extents, offset: number): number {
  for (let index = locate(extents, offset); index < extents.length; index++) {
    const extent = extents[index] as Extent
    if (extent.kind === 'zero') {
      return Math.max(extent.start, offset)
    }
  }
  return sizeOf(extents)
}

/**
 * Reads the bytes from `offset` on into `target` and returns their number: all of `target`, or less only where the file ends.
 *
 * @throws EvidenceError if any of them cannot be given; nothing in `target` is then to be used.
 */
export function read(extents: Extents, target: Uint8Array, offset: number): number {
  return readInto(extents, target, 0, target.length, offset)
}

/** The same for the `size` bytes of `target` from `at` on. */
export function readInto(extents: Extents, target: Uint8Array, at: number, size: number, offset: number): number {
  const end = Math.min(offset + size, sizeOf(extents))
  for (let index = locate(extents, offset), from = offset; from < end; index++) {
    const extent = extents[index] as Extent
    const stop = Math.min(extent.end, end)
    fill(target, at + from - offset, stop - from, extent, from - extent.start)
    from = stop
  }
  return Math.max(end - offset, 0)
}

function fill(target: Uint8Array, at: number, size: number, source: Source, skip: number): void {
  switch (source.kind) {
    case 'zero':
      target.fill(0, at, at + size)
      return
    case 'bytes':
      target.set(source.bytes.subarray(skip, skip + size), at)
      return
    case 'file':
      source.file.readInto(target, at, size, source.offset + skip)
      return
    case 'refused':
      throw source.why
  }
}

function continues(last: Extent, next: Source): boolean {
  if (last.kind === 'zero') {
    return next.kind === 'zero'
  }
  return (
    last.kind === 'file' &&
    next.kind === 'file' &&
    last.file === next.file &&
    last.offset + (last.end - last.start) === next.offset
  )
}
