import { hex } from '../evidence/errors.ts'
import { wholeFile } from '../evidence/extents.ts'
import { printable } from '../evidence/printable.ts'
import type { Cpu } from '../guest/cpus.ts'
import { modeOf } from '../guest/mode.ts'
import { roleOf } from '../guest/role.ts'
import { memoryMapText } from '../tree/meta.ts'
import type { Info } from './info.ts'

const MEBIBYTE = 1024 * 1024

/** Of each list, so that all of it fits on a screen; how many more there are is said. */
const ITEMS_SHOWN = 8
/** Problems and notes, which are long. */
const FINDINGS_SHOWN = 4
/** Characters of a text from the evidence. */
const TEXT_SHOWN = 80

const LABEL_WIDTH = 14

const NOT_STATED = 'not stated'

/** A guest on a screen, for people; `asked` is whether its memory was. */
export function* screenLines(info: Info, asked: boolean): Generator<string> {
  const { guest, product, machine } = info
  const { checkpoint, notes, problems } = guest
  yield* row('Evidence', evidenceLines(info))
  if (checkpoint === undefined) {
    yield* row('Checkpoint', ['none, this is memory alone'])
  } else {
    const { magic, state, version, groups } = checkpoint
    const contents = `${counted(groups.length, 'group')}, ${counted(info.tagCount, 'tag')}`
    yield* row('Checkpoint', [`${state} (magic ${hex(magic)}), format version ${version}, ${contents}`])
    yield* row('Product', [texts(product?.name, product?.version, product?.build)])
    yield* row('Machine', [texts(machine?.displayName)])
    yield* row('Guest OS', [texts(machine?.guestOS)])
  }
  yield* timeRows(info)
  yield* row('Memory', memoryLines(info, asked))
  if (checkpoint !== undefined) {
    yield* row('vCPUs', cpuLines(info))
    yield* row('Screenshot', [screenshotText(info)])
  }
  yield* row(
    'Problems',
    first(
      problems.map(({ message }) => message),
      FINDINGS_SHOWN,
      'none',
    ),
  )
  yield* row('Notes', first(notes.map(printable), FINDINGS_SHOWN, 'none'))
}

function* row(label: string, lines: readonly string[]): Generator<string> {
  for (const [index, line] of lines.entries()) {
    yield `${(index === 0 ? label : '').padEnd(LABEL_WIDTH)}${line}`
  }
}

/** The first of some lines, and how many more there are. */
function first(lines: readonly string[], count: number, none: string): string[] {
  if (lines.length === 0) {
    return [none]
  }
  const more = lines.length - count
  return more > 0 ? [...lines.slice(0, count), `and ${more} more`] : [...lines]
}

/** Texts from evidence, made safe and cut; those that are missing are left out. */
function texts(...parts: (string | undefined)[]): string {
  return parts.flatMap((part) => (part === undefined ? [] : [shortened(part)])).join(' ') || NOT_STATED
}

function shortened(text: string): string {
  const characters = [...printable(text)]
  return characters.length > TEXT_SHOWN ? `${characters.slice(0, TEXT_SHOWN).join('')}...` : characters.join('')
}

function evidenceLines({ guest }: Info): string[] {
  const rows = guest.evidence.map((file) => [printable(file.path), sizeText(file.size), roleOf(guest, file)] as const)
  const widths = [0, 1].map((column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)))
  return rows.map(([path, size, role]) => `${path.padEnd(widths[0] ?? 0)}  ${size.padStart(widths[1] ?? 0)}  ${role}`)
}

function* timeRows({ guest, times }: Info): Generator<string> {
  const byHost = 'by the clock of its host'
  if (times?.poweredOn !== undefined) {
    yield* row('Powered on', [`${timeText(times.poweredOn)}, ${byHost}`])
  }
  if (times?.suspended !== undefined) {
    yield* row('Suspended', [`${timeText(times.suspended)}, ${byHost}`])
  }
  for (const { mtime } of guest.evidence.slice(0, 1)) {
    yield* row('Modified', [`${timeText(mtime)}, the time of the file, which a copy may not have kept`])
  }
}

function timeText(time: Date): string {
  return `${time.toISOString().slice(0, -'.000Z'.length).replace('T', ' ')} UTC`
}

function memoryLines({ guest, map, memSize }: Info, asked: boolean): string[] {
  const { memory } = guest
  if (memory === undefined) {
    const stated = memSize === undefined ? [] : [`the machine had ${sizeText(memSize)}`]
    return [[asked ? 'none in this checkpoint' : 'left out', ...stated].join(', ')]
  }
  const { kind, file } = memory.image
  const size = memory.regions.reduce((sum, region) => sum + region.size, 0)
  const place = kind === 'inline' ? 'inside of the checkpoint' : `in ${printable(file.name)}`
  const passthrough = map && wholeFile(map) !== undefined ? ['byte for byte: passthrough is possible'] : []
  return [
    [sizeText(size), place, ...passthrough].join(', '),
    ...first(memoryMapText(memory).trimEnd().split('\n'), ITEMS_SHOWN, 'none'),
  ]
}

function cpuLines({ guest: { cpus, architecture }, cpuCount }: Info): string[] {
  const count = cpuCount === undefined ? NOT_STATED : `${cpuCount}, ${architecture}`
  const shown = cpus.slice(0, ITEMS_SHOWN)
  const columns = [
    ({ number }: Cpu) => `${number}`,
    (cpu: Cpu) => modeOf(cpu) ?? '',
    ...['rip', 'rsp', 'cr3'].map((name) => (cpu: Cpu) => `${name.toUpperCase()} ${registerText(cpu, name)}`),
  ]
  const widths = columns.map((column) => Math.max(0, ...shown.map((cpu) => column(cpu).length)))
  const line = (cpu: Cpu) =>
    columns
      .map((column, index) => column(cpu).padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd()
  return cpus.length === 0 ? [`${count}, no registers`] : [count, ...first(cpus.map(line), ITEMS_SHOWN, '')]
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

function registerText({ registers }: Cpu, name: string): string {
  const value = registers.get(name)
  return value === undefined ? '-' : hex(value)
}

function screenshotText({ guest: { screenshot }, screenSize }: Info): string {
  if (screenshot === undefined) {
    return 'none'
  }
  const dimensions = screenSize === undefined ? 'of unknown dimensions' : `${screenSize.width}x${screenSize.height}`
  return `PNG, ${dimensions}, ${sizeText(screenshot.size)}`
}

/** A size in bytes, and in MiB where it is a whole number of them. */
function sizeText(size: number): string {
  return size > 0 && size % MEBIBYTE === 0 ? `${size / MEBIBYTE} MiB (${size} bytes)` : `${size} bytes`
}
