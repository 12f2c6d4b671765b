/** What we want to reach, and whether we do. */
import { type Figure, type Line, timesAsGood } from './figures.ts'
import { ROWS, type Row } from './rows.ts'
import type { Subject } from './subjects.ts'
import { digits } from './table.ts'

/** Where a subject of ours should be in a row: so many times as good as limit, or at most so many of the row's unit. */
type Aim = { readonly subject: string; readonly row: Row } & ({ readonly ratio: number } | { readonly most: number })

const AIMS: readonly Aim[] = [
  { subject: 'kernel', row: ROWS.sequential, ratio: 0.9 },
  { subject: 'kernel', row: ROWS.direct, ratio: 0.9 },
  { subject: 'kernel', row: ROWS.random, ratio: 0.8 },
  { subject: 'kernel', row: ROWS.random4, ratio: 0.9 },
  { subject: 'kernel', row: ROWS.random16, ratio: 0.9 },
  { subject: 'kernel', row: ROWS.hole, ratio: 1 },
  { subject: 'kernel', row: ROWS.findMany, most: 15 },
  { subject: 'kernel', row: ROWS.firstByte, most: 0.4 },
  { subject: 'kernel', row: ROWS.residentFirst, most: 130 },
  { subject: 'kernel', row: ROWS.residentAfter, most: 130 },
  { subject: 'passthrough', row: ROWS.sequential, ratio: 3 },
  { subject: 'passthrough', row: ROWS.random, ratio: 5 },
]

/** Nobody else's program should read faster than this subject. */
const AHEAD = 'kernel'

/** What counts as even: two runs of one subject differ by more. */
const EVEN = 0.95

/** An aim in words, with what was found. */
export interface Verdict {
  readonly aim: string
  readonly found: string
  readonly isMet: boolean
}

/** A verdict on every aim of which the run has a figure. */
export function verdictsOn(lines: readonly Line[], subjects: readonly Subject[]): Verdict[] {
  const peers = subjects.filter(({ isPeer }) => isPeer)
  return [
    ...AIMS.flatMap((aim) => {
      const figure = lines.find(({ row }) => row === aim.row)?.figures.get(aim.subject)
      return figure === undefined ? [] : verdictOn(aim, figure)
    }),
    ...peers.map(({ name }) => verdictBeside(name, lines)),
  ]
}

function verdictOn(aim: Aim, { median, ratio }: Figure): Verdict[] {
  const what = `${aim.subject}: ${aim.row.name}`
  if ('most' in aim) {
    const { most, row } = aim
    return [{ aim: `${what} at most ${most} ${row.unit}`, found: digits(median), isMet: median <= most }]
  }
  const aimed = `${what} at least ${aim.ratio} times limit`
  return ratio === null ? [] : [{ aim: aimed, found: digits(ratio), isMet: ratio >= aim.ratio }]
}

/** In all rows of speed, which are those where more is better, but for sha256sum, which is busy with itself. */
function verdictBeside(peer: string, lines: readonly Line[]): Verdict {
  const speeds = lines.filter(({ row }) => row.better === 'more' && row !== ROWS.sha256)
  const behind = speeds.flatMap(({ row, figures }) => {
    const [ours, theirs] = [figures.get(AHEAD), figures.get(peer)]
    const ratio = ours && theirs ? timesAsGood(row, ours.samples, theirs.samples) : null
    return ratio === null || ratio >= EVEN ? [] : `${row.name} ${digits(ratio)} times`
  })
  return { aim: `${AHEAD}: behind ${peer} in no row`, found: behind.join('; ') || 'none', isMet: behind.length === 0 }
}
