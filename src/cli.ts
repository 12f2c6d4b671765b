#!/usr/bin/env node
import { isMountInBackground, mountInBackground } from './commands/background.ts'

const words = process.argv.slice(2)

// A daemon outlives the process that reads its standard error.
process.stderr.on('error', () => undefined)
try {
  process.exit(isMountInBackground(words) ? await mountInBackground(words) : await obey())
} catch (error) {
  const { report } = await import('./commands/report.ts')
  process.exit(report(error))
}

async function obey(): Promise<number> {
  const commandLine = await import('./command-line.ts')
  return commandLine.obey()
}
