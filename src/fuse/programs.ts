import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Whether a program of that name can be run. */
export function hasProgram(name: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => isAccessible(join(folder, name), constants.X_OK))
}

/** Whether we may use what is at the path in that way (access(2)). */
export function isAccessible(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

/** Whether we are root. */
export function isRoot(): boolean {
  return process.getuid?.() === 0
}
