import { type Checkpoint, findTag } from '../checkpoint/parse.ts'
import { numberOf } from '../checkpoint/values.ts'
import { type EvidenceError, hex } from '../evidence/errors.ts'
import { type Extent, type Extents, storedSizeOf, wholeFile } from '../evidence/extents.ts'
import type { EvidenceFile } from '../evidence/file.ts'
import { readConfiguration } from '../guest/configuration.ts'
import type { Cpu } from '../guest/cpus.ts'
import { type Guest, openCheckpoint } from '../guest/guest.ts'
import type { Memory } from '../guest/memory.ts'
import { modeOf } from '../guest/mode.ts'
import { type PictureSize, readPictureSize } from '../guest/picture.ts'
import { type Product, readProduct } from '../guest/product.ts'
import { memSizeOf } from '../guest/regions.ts'
import { roleOf } from '../guest/role.ts'
import { type Times, timesOf } from '../guest/times.ts'
import { jsonObjectLines } from '../output/json.ts'
import { writeLines } from '../output/standard-output.ts'
import { provenanceOf } from '../tree/provenance.ts'
import { planRaw } from '../views/raw.ts'
import { type EvidenceArguments, provenanceOfThisRun } from './evidence.ts'
import { screenLines } from './info-screen.ts'

/** What the command line of `vmssfs info` says besides the evidence. */
export interface InfoArguments extends EvidenceArguments {
  readonly json?: boolean
}

/** What a person wants to know of a guest first. */
export interface Info {
  readonly guest: Guest
  /** What each range of guest-physical addresses is made of; undefined without memory. */
  readonly map: Extents | undefined
  /** Undefined without a checkpoint, as all that follows. */
  readonly product: Product | undefined
  readonly machine: Machine | undefined
  readonly times: Times | undefined
  /** How many vCPUs there are, as `cpu:numVCPUs` says. */
  readonly cpuCount: number | undefined
  /** Size of the memory by the tag memSize, in bytes. */
  readonly memSize: number | undefined
  /** Undefined also where there is no picture, or it does not say. */
  readonly screenSize: PictureSize | undefined
  readonly tagCount: number
}

/** What the .vmx inside of the checkpoint calls the machine and its system. */
export interface Machine {
  readonly displayName: string | undefined
  readonly guestOS: string | undefined
}

/** A setting is read whole, but given up to here, in UTF-16 code units. */
const SETTING_SIZE = 4096

/**
 * Says what is in the evidence. Notes and problems are part of that, so standard error has none.
 *
 * @throws EvidenceError, OutputError
 */
export async function showInfo(evidence: string, given: InfoArguments): Promise<void> {
  const info = gather(openCheckpoint(evidence, given))
  if (given.json) {
    const provenance = provenanceOf(info.guest, provenanceOfThisRun(given))
    await writeLines(jsonObjectLines({ ...jsonObject(info), provenance }))
  } else {
    await writeLines(screenLines(info, given.memory !== false))
  }
}

function gather(guest: Guest): Info {
  const { checkpoint, memory, screenshot } = guest
  const settings = checkpoint && readConfiguration(checkpoint)
  const setting = (key: string) => settings?.get(key)?.slice(0, SETTING_SIZE)
  return {
    guest,
    map: memory && planRaw(memory),
    product: checkpoint && readProduct(checkpoint),
    machine: checkpoint && { displayName: setting('displayname'), guestOS: setting('guestos') },
    times: checkpoint && timesOf(checkpoint),
    cpuCount: checkpoint && cpuCountOf(checkpoint),
    memSize: checkpoint && memSizeOf(checkpoint),
    screenSize: checkpoint && screenshot && readPictureSize(checkpoint, screenshot),
    tagCount: checkpoint?.groups.reduce((count, { tags }) => count + tags.length, 0) ?? 0,
  }
}

function cpuCountOf(checkpoint: Checkpoint): number | undefined {
  const tag = findTag(checkpoint, 'cpu', 'cpu:numVCPUs')
  const count = tag && Number(numberOf(tag))
  return Number.isSafeInteger(count) ? count : undefined
}

/** The members of the JSON object are part of the contract: README, "info". What is not known is null. */
function jsonObject(info: Info): Record<string, unknown> {
  const { guest, map, product, machine, times, cpuCount, memSize, screenSize, tagCount } = info
  const { checkpoint, memory, screenshot, evidence, cpus, architecture } = guest
  const { magic = 0, state, version, groups = [] } = checkpoint ?? {}
  const picture = screenshot && { width: screenSize?.width, height: screenSize?.height, size: screenshot.size }
  return {
    evidence: evidence.map((file) => fileObject(guest, file)),
    checkpoint: checkpoint ? { magic: hex(magic), state, version, groups: groups.length, tags: tagCount } : null,
    product: product ? withNulls(product) : null,
    machine: machine ? withNulls(machine) : null,
    times: {
      poweredOn: times?.poweredOn?.toISOString() ?? null,
      suspended: times?.suspended?.toISOString() ?? null,
      modified: evidence[0]?.mtime.toISOString() ?? null,
    },
    memSize: memSize ?? null,
    memory: memory ? memoryObject(memory, map ?? []) : null,
    memoryMap: (map ?? []).map(rangeObject),
    architecture: checkpoint ? architecture : null,
    cpuCount: cpuCount ?? null,
    cpus: cpus.map(cpuObject),
    screenshot: picture ? withNulls(picture) : null,
    problems: guest.problems.map(problemObject),
    notes: guest.notes,
  }
}

function fileObject(guest: Guest, file: EvidenceFile): object {
  return { path: file.path, role: roleOf(guest, file), size: file.size, modified: file.mtime.toISOString() }
}

function memoryObject({ image, regions, assumption }: Memory, map: Extents): object {
  const size = regions.reduce((sum, region) => sum + region.size, 0)
  const { kind, file, offset } = image
  const [stored, passthrough] = [storedSizeOf(map), wholeFile(map) !== undefined]
  return { size, stored, kind, file: file.path, offset, passthrough, assumption: assumption ?? null }
}

function rangeObject(extent: Extent): object {
  const range = { address: hex(extent.start), size: extent.end - extent.start }
  switch (extent.kind) {
    case 'file':
      return { ...range, kind: 'memory', file: extent.file.path, offset: extent.offset }
    case 'zero':
      return { ...range, kind: 'hole' }
    case 'refused':
      return { ...range, kind: 'refused', why: extent.why.message }
    case 'bytes':
      throw new Error('memory is never made of bytes of ours')
  }
}

function cpuObject(cpu: Cpu): object {
  const [rip, rsp, cr3] = ['rip', 'rsp', 'cr3'].map((name) => hexOrNull(cpu.registers.get(name)))
  return { number: cpu.number, mode: modeOf(cpu) ?? null, rip, rsp, cr3 }
}

function problemObject({ finding, message }: EvidenceError): object {
  const { code, file, offset, expected, found } = finding
  return { code, file, offset: offset ?? null, expected, found, message }
}

function hexOrNull(value: bigint | undefined): string | null {
  return value === undefined ? null : hex(value)
}

function withNulls(object: object): object {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, value ?? null]))
}
