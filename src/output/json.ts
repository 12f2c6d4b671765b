/** A value as JSON in one line, in which no character acts on a terminal: JSON itself escapes only a few of those. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, index) => character.charCodeAt(index))
      .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
      .join(''),
  )
}

/**
 * The lines of a JSON object, a line for each member, and for each item of a member that is iterable and no string. They are
 * made one by one, for there may be very many items.
 */
export function* jsonObjectLines(object: Readonly<Record<string, unknown>>): Generator<string> {
  const members = Object.entries(object)
  yield '{'
  for (const [index, [name, value]] of members.entries()) {
    const comma = index < members.length - 1 ? ',' : ''
    if (isList(value)) {
      yield* listLines(jsonLine(name), value, comma)
    } else {
      yield `  ${jsonLine(name)}: ${jsonLine(value)}${comma}`
    }
  }
  yield '}'
}

function* listLines(name: string, items: Iterable<unknown>, comma: string): Generator<string> {
  // A line is written when the next one is there, and so is known not to be the last.
  let last: string | undefined
  for (const item of items) {
    yield last === undefined ? `  ${name}: [` : `${last},`
    last = `    ${jsonLine(item)}`
  }
  if (last === undefined) {
    yield `  ${name}: []${comma}`
  } else {
    yield last
    yield `  ]${comma}`
  }
}

function isList(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}
