import { OutputError } from './errors.ts'

/** Lines that are written at once, in characters. */
const BATCH_SIZE = 64 * 1024

// Whoever waits for a write is told; without a listener the process would end here, and with a stack.
process.stdout.on('error', () => undefined)

/**
 * Writes to standard output, and resolves when the bytes are no longer needed.
 *
 * @throws OutputError `closed` if nobody reads it any more, or `failed`.
 */
export function writeOut(bytes: Uint8Array | string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error: NodeJS.ErrnoException | null | undefined) => {
      if (error == null) {
        resolve()
      } else {
        const kind = error.code === 'EPIPE' ? 'closed' : 'failed'
        reject(new OutputError(kind, `standard output: expected to write it, found ${error.message}`))
      }
    })
  })
}

/**
 * Writes lines, each of which gets its line feed here.
 *
 * @throws OutputError
 */
export async function writeLines(lines: Iterable<string>): Promise<void> {
  let batch = ''
  for (const line of lines) {
    batch += `${line}\n`
    if (batch.length >= BATCH_SIZE) {
      await writeOut(batch)
      batch = ''
    }
  }
  await writeOut(batch)
}
