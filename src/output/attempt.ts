import { OutputError } from './errors.ts'

/**
 * Does something to a file of ours.
 *
 * @throws OutputError where the operating system objects.
 */
export function attempt<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw outputError(path, error)
  }
}

/** What the operating system objects to, as the error of a file of ours; any other error as it is. */
export function outputError(path: string, error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException
  switch (code) {
    case undefined:
      return error
    case 'EEXIST':
      return new OutputError(
        'exists',
        `${path}: expected nothing there yet, found something`,
        'another name for the output',
      )
    default: {
      const found = /^\w+: ([^,]+)/.exec(message)?.[1] ?? message
      return new OutputError('failed', `${path}: expected to write it, found ${code} (${found})`)
    }
  }
}
