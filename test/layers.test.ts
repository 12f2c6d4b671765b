/** The architecture that the README draws: who may import whom, and who is the only one to do a thing. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const TOP = fileURLToPath(new URL('../../', import.meta.url))

/** In the order in which bytes travel: each may import from itself and from those before it. */
const STAGES = ['evidence', 'checkpoint', 'guest', 'views', 'tree', 'fuse', 'output', 'commands']

/** What only these files may have in them. */
const OWNERS: Record<string, { pattern: RegExp; files: string[] }> = {
  'bytes are read': { pattern: /\breadSync\(/, files: ['evidence/file.ts', 'fuse/kernel/device.ts'] },
  'error numbers are known': { pattern: /\bconstants\.errno\b/, files: ['fuse/operations.ts'] },
  'fuse-native is imported': {
    pattern: /(from |import\(|module )'fuse-native'/,
    files: ['fuse/fuse-native.d.ts', 'fuse/native.ts'],
  },
  'koffi is imported': { pattern: /'koffi'/, files: ['fuse/kernel/libc.ts'] },
  'the process is ended': { pattern: /process\.exit\(/, files: ['cli.ts'] },
  'commander is imported': { pattern: /'commander'/, files: ['command-line.ts'] },
  'a shell is used': { pattern: /shell:|[^.]exec\(|execSync\(/, files: [] },
}

const sources = filesBelow(join(TOP, 'src')).map((path) => relative(join(TOP, 'src'), path))

describe('layers', () => {
  test('imports point from later stages to earlier ones', () => {
    for (const source of sources) {
      for (const target of importsOf(join(TOP, 'src', source)).map((path) => normalize(join(dirname(source), path)))) {
        assert.ok(stageOf(target) <= stageOf(source), `${source} imports ${target}`)
      }
    }
  })

  for (const [what, { pattern, files }] of Object.entries(OWNERS)) {
    test(`${what} in ${files.join(', ') || 'no file'} alone`, () => {
      assert.deepEqual(
        sources.filter((source) => pattern.test(readFileSync(join(TOP, 'src', source), 'utf8'))).sort(),
        files,
      )
    })
  }

  test('up to the tree, evidence is the only thing on a disk, and evidence/file.ts its only door', () => {
    const early = sources.filter((source) => stageOf(source) < STAGES.indexOf('fuse'))
    const importers = early.filter((source) => /from 'node:fs/.test(readFileSync(join(TOP, 'src', source), 'utf8')))
    assert.deepEqual(importers, ['evidence/file.ts'])
  })

  test('what makes test data shares nothing with the program', () => {
    for (const path of filesBelow(join(TOP, 'test', 'support'))) {
      assert.ok(
        importsOf(path).every((target) => !target.includes('src/')),
        path,
      )
    }
  })

  test('dependencies are those that the README gives reasons for', () => {
    const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'))
    assert.deepEqual(Object.keys(dependencies), ['cli-progress', 'commander', 'debug', 'picomatch'])
    assert.deepEqual(optionalDependencies, { 'fuse-native': '2.2.6', koffi: '3.3.4' })
    assert.doesNotMatch(readFileSync(join(TOP, 'package-lock.json'), 'utf8'), /"resolved"/)
  })
})

function filesBelow(folder: string): string[] {
  return readdirSync(folder)
    .map((name) => join(folder, name))
    .flatMap((path) => (statSync(path).isDirectory() ? filesBelow(path) : [path]))
}

function importsOf(path: string): string[] {
  return [...readFileSync(path, 'utf8').matchAll(/from '(\.[^']+)'/g)].map(([, target]) => target as string)
}

/** Files beside the folders, the library's face and the command, see everything. */
function stageOf(source: string): number {
  const [folder = ''] = source.split('/')
  const stage = STAGES.indexOf(folder)
  return stage === -1 ? STAGES.length : stage
}
