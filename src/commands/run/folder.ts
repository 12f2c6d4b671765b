import { rmdirSync } from 'node:fs'
import { say } from '../../output/say.ts'

/** Removes the folder that was mounted on, unless the other of the two processes has done so. It is empty outside. */
export function removeFolder(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') {
      say(`${path}: expected to remove the folder, found ${code}`)
    }
  }
}
