#!/usr/bin/env node
import { isMountInBackground, mountInBackground } from './commands/background.ts'

const words = process.argv.slice(2)

// A daemon outlives the process that reads its standard error.
process.stderr.on('error', () => undefined)
try {
  if (isMountInBackground(words)) {
    process.exit(await mountInBackground(words))
  }
  const { obey } = await import('./command-line.ts')
  process.exit(await obey())
} catch (error) {
  const { report } = await import('./commands/report.ts')
  process.exit(report(error))
}
