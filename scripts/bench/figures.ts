import type { Row } from './rows.ts'
import { LIMIT } from './subjects.ts'

/** What was measured of one subject in one row: a sample of each turn, in the row's unit. */
export interface Figure {
  readonly samples: readonly number[]
  readonly median: number
  readonly min: number
  readonly max: number
  /** How many times as good as limit; null where there is nothing to compare with. */
  readonly ratio: number | null
}

/** A row, with the figures of the subjects that have one. */
export interface Line {
  readonly row: Row
  readonly figures: ReadonlyMap<string, Figure>
}

/** Makes a line of the samples of each subject. */
export function lineOf(row: Row, samples: ReadonlyMap<string, readonly number[]>): Line {
  const limit = samples.get(LIMIT)
  const figures = [...samples].map(([name, own]): [string, Figure] => {
    const ratio = limit === undefined ? null : timesAsGood(row, own, limit)
    return [name, { samples: own, median: median(own), min: Math.min(...own), max: Math.max(...own), ratio }]
  })
  return { row, figures: new Map(figures) }
}

/**
 * How many times as good as the others' the own samples are: the median of what it was in each turn, so that a slow moment of
 * the machine weighs on both. Above 1 is better, whether the row counts bytes a second or seconds. Null if one of them is 0.
 */
export function timesAsGood({ better }: Row, own: readonly number[], others: readonly number[]): number | null {
  const ratios = own.map((sample, turn) => {
    const other = others[turn] ?? 0
    return better === 'more' ? sample / other : other / sample
  })
  return ratios.every((ratio) => Number.isFinite(ratio) && ratio > 0) ? median(ratios) : null
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2
}
