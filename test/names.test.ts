/** What a name from the evidence becomes in a directory, and on a terminal. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeName, printable } from '../src/evidence/printable.ts'
import { entryName, UniqueNames } from '../src/tree/names.ts'

test('a directory entry keeps what it can hold, and encodes the rest', () => {
  for (const [name, indices, expected] of [
    ['cpu:numVCPUs', [], 'cpu:numVCPUs'],
    ['BM cmdReg', [0], 'BM cmdReg[0]'],
    ['MSR', [1, 0xc0000080, 4294967295], 'MSR[1][3221225600][4294967295]'],
    ['a/b\0c%d\x7f\n', [], 'a%2Fb%00c%25d%7F%0A'],
    ['.', [], '%2E'],
    ['..', [], '%2E%2E'],
    ['..', [0], '..[0]'],
    ['', [], '%'],
    ['größe', [], 'größe'],
  ] as const) {
    assert.equal(entryName(name, indices), expected)
  }
  assert.equal(entryName(decodeName(Buffer.from([0x67, 0xff, 0xc3]))), 'g%FF%C3')
  assert.equal(entryName(decodeName(Buffer.from('grün'))), 'grün')
})

test('a name is given out once', () => {
  const names = new UniqueNames()
  const taken = ['a', 'a', 'a~2', 'a', 'b', 'a~2'].map((name) => names.take(name))
  assert.deepEqual(taken, ['a', 'a~2', 'a~2~2', 'a~3', 'b', 'a~2~3'])
})

test('a name that is too long is cut at a character, and stays one of its kind', () => {
  const names = new UniqueNames()
  const long = 'ü'.repeat(200)
  const taken = [long, `${long}x`, long, 'y'.repeat(255), 'y'.repeat(256)].map((name) => names.take(name))
  assert.equal(new Set(taken).size, taken.length)
  for (const name of taken) {
    assert.ok(Buffer.byteLength(name) <= 255, name)
  }
  assert.match(taken[0] as string, /^ü{119}~[0-9a-f]{16}$/)
  assert.equal(taken[3], 'y'.repeat(255))
})

test('nothing of a name acts on a terminal', () => {
  assert.equal(printable('\x1b[31mred\x07\u009b\u202e\n'), '\\x1b[31mred\\x07\\x9b\\u{202e}\\x0a')
  assert.equal(printable(decodeName(Buffer.from([0x41, 0xfe]))), 'A\\xfe')
  assert.equal(printable('größe 😀'), 'größe 😀')
})
