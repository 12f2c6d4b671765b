import type { Line } from './figures.ts'

const RATIO_WIDTH = 7

/**
 * The lines as a table of text: the median with how many times as good as limit it is, and below it the least and the
 * greatest. Who has no such figure has an empty place.
 */
export function tableOf(lines: readonly Line[], subjects: readonly string[]): string {
  const cells = lines.flatMap(({ row, figures }) => {
    const found = subjects.map((name) => figures.get(name))
    const medians = found.map((figure) => figure && `${digits(figure.median)}${ratioText(figure.ratio)}`)
    const spreads = found.map((figure) => figure && `${digits(figure.min)}..${digits(figure.max)}`)
    return [
      [row.name, row.unit, ...medians],
      ['', '', ...spreads],
    ]
  })
  return aligned([['', '', ...subjects], ...cells])
}

/** A number in three digits, or all that stand before the point. */
export function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

function ratioText(ratio: number | null): string {
  return (ratio === null ? '' : `x${ratio < 10 ? ratio.toFixed(2) : digits(ratio)}`).padStart(RATIO_WIDTH)
}

/** The first two columns begin at the left, the others end at the right. */
function aligned(rows: readonly (string | undefined)[][]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const lines = rows.map((row) => {
    const padded = row.map((cell = '', column) => {
      const width = widths[column] ?? 0
      return column < 2 ? cell.padEnd(width) : cell.padStart(width)
    })
    return padded.join('  ').trimEnd()
  })
  return lines.join('\n')
}
