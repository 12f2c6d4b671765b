import { printable } from '../evidence/printable.ts'

/** What spreadsheets take for the beginning of a formula; the wide forms count in some of them. */
const FORMULA = /^[=+\-@\uff1d\uff0b\uff0d\uff20]/

/** A row as RFC 4180 has it, but for the line feed that ends it. */
export function csvLine(cells: readonly (string | number)[]): string {
  return `${cells.map((cell) => (/[",]/.test(`${cell}`) ? `"${`${cell}`.replaceAll('"', '""')}"` : cell)).join(',')}\r`
}

/**
 * Text from evidence as a cell: safe for a terminal, and no formula in a spreadsheet, for which it gets a `'` in front where
 * it begins like one. Evidence is hostile, and such a file is meant to be opened by somebody.
 */
export function csvText(text: string): string {
  const safe = printable(text)
  return FORMULA.test(safe) ? `'${safe}` : safe
}
