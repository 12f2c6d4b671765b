import type { Evidence } from './evidence.ts'
import { type Line, lineOf } from './figures.ts'
import { warmUp } from './programs.ts'
import type { Row } from './rows.ts'
import { type Server, startServer } from './server.ts'
import type { Subject } from './subjects.ts'
import type { Trial } from './trials.ts'

/** Some evidence, and what is tried on it: on one mount of it for all trials, or on a fresh one for each. */
export interface Part {
  readonly name: string
  readonly evidence: Evidence
  readonly trials: readonly Trial[]
  readonly isFresh: boolean
  /** It takes so long that a third of the rounds must do. */
  readonly isSlow: boolean
}

/** A subject, and the server that shows the evidence of a part for it. */
type Shown = readonly [Subject, Server]

/**
 * Measures all subjects in turns, so that whatever else the machine does comes to all of them: in each turn of a trial every
 * subject, beginning with another one each time.
 */
export async function measure(
  { name, evidence, trials, isFresh, isSlow }: Part,
  subjects: readonly Subject[],
  rounds: number,
  directory: string,
): Promise<Line[]> {
  const ownRounds = isSlow ? Math.ceil(rounds / 3) : rounds
  const samples = new Map<Row, Map<string, number[]>>()
  const standing = isFresh ? [] : await startAll(subjects, evidence, directory)
  for (let round = 0; round < ownRounds; round++) {
    process.stderr.write(`bench: ${name}, round ${round + 1} of ${ownRounds}\n`)
    for (const trial of trials) {
      if (!isFresh) {
        warmUp(evidence)
      }
      for (let turn = round * trial.turns; turn < (round + 1) * trial.turns; turn++) {
        const shown = isFresh ? oneByOne(rotated(subjects, turn), evidence, directory) : rotated(standing, turn)
        for await (const [subject, server] of shown) {
          keep(samples, trial, subject.name, await trial.measure(server, turn))
        }
      }
    }
  }
  for (const [, server] of standing) {
    await server.stop()
  }
  return [...samples].map(([row, own]) => lineOf(row, own))
}

/** Those of the subjects that have something to show. */
async function startAll(subjects: readonly Subject[], evidence: Evidence, directory: string): Promise<Shown[]> {
  const shown: Shown[] = []
  for (const subject of subjects) {
    const server = await startServer(subject, evidence, directory)
    if (server !== undefined) {
      shown.push([subject, server])
    }
  }
  return shown
}

/** The same, of which each is stopped before the next is started. */
async function* oneByOne(
  subjects: readonly Subject[],
  evidence: Evidence,
  directory: string,
): AsyncGenerator<Shown, void, void> {
  for (const subject of subjects) {
    for (const [, server] of await startAll([subject], evidence, directory)) {
      yield [subject, server]
      await server.stop()
    }
  }
}

function keep(
  samples: Map<Row, Map<string, number[]>>,
  { rows }: Trial,
  name: string,
  values: readonly number[],
): void {
  for (const [index, row] of rows.entries()) {
    const own = samples.get(row) ?? new Map<string, number[]>()
    samples.set(row, own.set(name, [...(own.get(name) ?? []), values[index] as number]))
  }
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const first = by % items.length
  return [...items.slice(first), ...items.slice(0, first)]
}
