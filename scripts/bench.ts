/**
 * `npm run bench`: measures vmssfs beside a C server that does as little as one can, and beside programs of others that show
 * a file through FUSE, in turns and with the same bytes. Prints a table; `--json FILE` keeps all samples, `--rounds N` says
 * how often everything is measured.
 */
import { writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { parseArgs } from 'node:util'
import { temporaryDirectory } from '../test/support/mount.ts'
import { verdictsOn } from './bench/aims.ts'
import type { Line } from './bench/figures.ts'
import { buildLimit } from './bench/limit.ts'
import { makeParts } from './bench/parts.ts'
import { Readers } from './bench/readers.ts'
import { measure } from './bench/rounds.ts'
import { checkServer } from './bench/server.ts'
import { type Subject, subjectsBeside } from './bench/subjects.ts'
import { tableOf } from './bench/table.ts'
import { MOST_READERS, mappingSkip } from './bench/trials.ts'

const { values } = parseArgs({ options: { json: { type: 'string' }, rounds: { type: 'string', default: '3' } } })
const rounds = Number(values.rounds)
if (!Number.isInteger(rounds) || rounds < 1) {
  say(`--rounds: expected a number from 1 on, found "${values.rounds}"`)
  process.exit(2)
}

const machine = {
  processors: `${cpus().length} x ${cpus()[0]?.model}`,
  linux: release(),
  node: process.version,
  load: loadavg()[0],
}
const directory = temporaryDirectory()
const readers = new Readers(MOST_READERS)
say('making the evidence')
const [flat, ...others] = makeParts(directory, readers)
const subjects: Subject[] = []
for (const subject of subjectsBeside(limitProgram())) {
  try {
    await checkServer(subject, flat.evidence, directory)
    subjects.push(subject)
  } catch (error) {
    say(`left out: ${(error as Error).message}`)
  }
}
if (mappingSkip) {
  say(`left out: ${mappingSkip}`)
}
const lines: Line[] = []
for (const part of [flat, ...others]) {
  lines.push(...(await measure(part, subjects, rounds, directory)))
}
await readers.end()

const names = subjects.map(({ name }) => name)
const judged = verdictsOn(lines, subjects)
const { processors, linux, node, load } = machine
console.log(`${processors}, Linux ${linux}, Node ${node}, load ${load}, ${rounds} rounds\n`)
console.log(tableOf(lines, names))
console.log('\nx: times as good as limit, the median of all turns. O_DIRECT with passthrough reads the disk.\n')
for (const { aim, found, isMet } of judged) {
  console.log(`${isMet ? 'met   ' : 'MISSED'}  ${aim}: ${found}`)
}
if (values.json !== undefined) {
  const rows = lines.map(({ row, figures }) => ({ ...row, subjects: Object.fromEntries(figures) }))
  writeFileSync(values.json, `${JSON.stringify({ machine, rounds, rows, aims: judged }, null, 2)}\n`)
}

/** The path of the C server, or undefined, after saying why, where there is none. */
function limitProgram(): string | undefined {
  const limit = buildLimit(directory)
  if ('program' in limit) {
    return limit.program
  }
  say(limit.why)
  say('without the C server there is nothing to compare with: the figures stand alone')
  return undefined
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`)
}
