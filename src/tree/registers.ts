import { hex } from '../evidence/errors.ts'
import { printable } from '../evidence/printable.ts'
import type { Cpu, Segment, Table } from '../guest/cpus.ts'
import { flagNames, modeOf, ringOf } from '../guest/mode.ts'

/** Width of the column of names. */
const NAME_WIDTH = 15

/** Words of the blocks of control and debug registers that are no registers of x86. */
const NO_REGISTERS = new Set(['cr1', 'cr5', 'cr6', 'cr7', 'dr4', 'dr5'])

/** `cpu/<n>/registers.txt`: for people, a register on each line as debuggers show them, the bits of flags by name. */
export function registersText(cpu: Cpu): string {
  const lines = [headline(cpu), '']
  for (const [name, value] of cpu.registers) {
    if (NO_REGISTERS.has(name) && value === 0n) {
      continue
    }
    const flags = flagNames(name, value)
    lines.push(line(name, `${hex(value).padEnd(18)}${flags === undefined ? '' : `  [ ${[...flags, ''].join(' ')}]`}`))
  }
  for (const [name, segment] of cpu.segments) {
    lines.push(line(name, segmentText(segment)))
  }
  for (const name of ['gdtr', 'idtr'] as const) {
    const table = cpu[name]
    if (table !== undefined) {
      lines.push(line(name, `base ${hex(table.base)} limit ${hex(table.limit)}`))
    }
  }
  for (const [number, value] of cpu.msrs) {
    lines.push(line(`msr ${hex(number)}`, hex(value)))
  }
  return `${lines.map((text) => printable(text).trimEnd()).join('\n')}\n`
}

/** `cpu/<n>/registers.json`: all of it for programs; values are text in hexadecimal. What the checkpoint does not keep is not there. */
export function registersJson(cpu: Cpu): string {
  const { number, registers, segments, gdtr, idtr, msrs, halted } = cpu
  const flags = [...registers]
    .map(([name, value]) => [name, flagNames(name, value)])
    .filter(([, names]) => names !== undefined)
  const content = {
    cpu: number,
    mode: modeOf(cpu),
    ring: ringOf(cpu),
    halted,
    registers: hexObject(registers),
    flags: Object.fromEntries(flags),
    segments: Object.fromEntries([...segments].map(([name, segment]) => [name, segmentObject(segment)])),
    gdtr: gdtr && tableObject(gdtr),
    idtr: idtr && tableObject(idtr),
    msrs: Object.fromEntries([...msrs].map(([msr, value]) => [hex(msr), hex(value)])),
  }
  return `${JSON.stringify(content, undefined, 2)}\n`
}

function headline(cpu: Cpu): string {
  const [mode, ring] = [modeOf(cpu), ringOf(cpu)]
  const facts = [
    mode === undefined ? undefined : `${mode} mode`,
    ring === undefined ? undefined : `ring ${ring}`,
    cpu.halted === undefined ? undefined : cpu.halted ? 'halted' : 'running',
  ]
  return `vCPU ${cpu.number}: ${facts.filter((fact) => fact !== undefined).join(', ') || 'mode not known'}`
}

function line(name: string, text: string): string {
  return name.padEnd(NAME_WIDTH) + text
}

function segmentText({ selector, base, limit, rights }: Segment): string {
  const parts = [
    selector === undefined ? undefined : hex(selector).padEnd(6),
    base === undefined ? undefined : `base ${hex(base)}`,
    limit === undefined ? undefined : `limit ${hex(limit)}`,
    rights === undefined ? undefined : `rights ${hex(rights)}`,
  ]
  return parts.filter((part) => part !== undefined).join(' ')
}

function segmentObject(segment: Segment): object {
  return Object.fromEntries(Object.entries(segment).map(([name, value]) => [name, hex(value)]))
}

function tableObject({ base, limit }: Table): object {
  return { base: hex(base), limit: hex(limit) }
}

function hexObject(values: ReadonlyMap<string, bigint>): object {
  return Object.fromEntries([...values].map(([name, value]) => [name, hex(value)]))
}
