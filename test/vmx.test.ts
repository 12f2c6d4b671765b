/** The settings of a machine, as its .vmx has them: the encoding that it names, escapes, and text that is none. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseVmx } from '../src/checkpoint/vmx.ts'

const TEST = { timeout: 30_000 }

test('keys are in lower case, values as they are, and of two the later holds', TEST, () => {
  const settings = parse(
    'displayName = "A machine"\r\nGuestOS="other"\n  spaced  =  " value "  \nguestOS = "linux"\nempty = ""\n',
  )
  assert.deepEqual(Object.fromEntries(settings), {
    displayname: 'A machine',
    guestos: 'linux',
    spaced: ' value ',
    empty: '',
  })
})

test('what is no setting is passed over', TEST, () => {
  const settings = parse('#!/usr/bin/vmware\n\nno value\n= "no key"\n# comment = "x"\nopen = "no end\nnext = "there"\n')
  assert.deepEqual([...settings], [['next', 'there']])
})

test('escapes are bytes in hexadecimal', TEST, () => {
  assert.equal(parse('a = "say |22hello|22, 1|7C2 |0A|zz|"').get('a'), 'say "hello", 1|2 \n|zz|')
})

test('keys are no properties of objects', TEST, () => {
  assert.equal(parse('a = "1"').get('constructor'), undefined)
  assert.equal(parse('__proto__ = "1"').get('__proto__'), '1')
})

const ENCODINGS: [what: string, bytes: Buffer, value: string][] = [
  ['UTF-8', latin1('.encoding = "UTF-8"\nname = "M\xc3\xbcller"'), 'Müller'],
  ['windows-1252', latin1('.encoding = "windows-1252"\nname = "M\xfcller \x80"'), 'Müller €'],
  ['latin1, which is the same', latin1('.encoding = "latin1"\nname = "\x8aumava \x93\x94"'), 'Šumava “”'],
  ['in other case, not first', latin1('a = "b"\n .ENCODING="Windows-1252"\nname = "M\xfcller"'), 'Müller'],
  ['Shift_JIS', latin1('.encoding = "Shift_JIS"\nname = "\x93\xfa\x96\x7b"'), '日本'],
  ['GBK', latin1('.encoding = "GBK"\nname = "\xd6\xd0"'), '中'],
  ['none, UTF-8', latin1('name = "M\xc3\xbcller"'), 'Müller'],
  ['none, not UTF-8', latin1('name = "M\xfcller"'), 'Müller'],
  ['unknown', latin1('.encoding = "klingon"\nname = "M\xc3\xbcller"'), 'Müller'],
  ['one that is not true', latin1('.encoding = "UTF-8"\nname = "M\xfcller"'), 'Müller'],
]
for (const [what, bytes, value] of ENCODINGS) {
  test(`encoding: ${what}`, TEST, () => assert.equal(parseVmx(bytes).get('name'), value))
}

test('only the first MiB counts, and may end within a character', TEST, () => {
  const head = Buffer.from('.encoding = "UTF-8"\nname = "ü"\n')
  const tail = Buffer.from('late = "1"\n')
  const limit = 2 ** 20
  const long = Buffer.concat([head, Buffer.alloc(limit - head.length - 1, 'x'), Buffer.from('ü\n'), tail])
  assert.deepEqual(Object.fromEntries(parseVmx(long)), { '.encoding': 'UTF-8', name: 'ü' })
})

for (const [what, byte] of [
  ['line feeds', '\n'],
  ['carriage returns', '\r'],
  ['blanks', ' '],
  ['letters', 'a'],
  ['equals signs', '='],
  ['quotes', '"'],
  ['bars', '|'],
] as const) {
  test(`100,000 ${what} take no time`, TEST, () => {
    const start = performance.now()
    parseVmx(Buffer.alloc(100_000, byte))
    parseVmx(Buffer.concat([Buffer.from('a = "'), Buffer.alloc(100_000, byte), Buffer.from('"')]))
    // What goes over them again and again takes seconds.
    assert.ok(performance.now() - start < 1500)
  })
}

function parse(text: string): Map<string, string> {
  return parseVmx(Buffer.from(text))
}

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
