/**
 * `npm start`: with arguments it is the command; without, it makes an example, mounts it on ./mnt and shows round.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { makeExample } from './example.ts'

const CLI = fileURLToPath(new URL('../src/cli.js', import.meta.url))
const MOUNTPOINT = 'mnt'

/** What a newcomer may like to see first; run by a shell, in the folder of the project. */
const TOUR = [
  'ls -l mnt',
  'cat mnt/meta/memory-map.txt',
  'du -h --apparent-size mnt/physmem.raw; du -h mnt/physmem.raw',
  "cat 'mnt/groups/cpu/rip[0]' 'mnt/groups/cpu/rip[1]'",
  "grep -a displayName mnt/config.vmx; ls mnt/groups | tr '\\n' ' '; echo",
  'dd if=mnt/physmem.raw bs=1M skip=1 count=1 status=none | tr -d "\\0" | head -c 400; echo',
  'dd if=mnt/physmem.raw bs=1M skip=4096 count=1 status=none | tr -d "\\0" | head -c 400; echo',
]

const args = process.argv.slice(2)
process.exitCode = args.length > 0 ? vmssfs(args) : showExample()

function vmssfs(words: readonly string[]): number {
  return spawnSync(process.execPath, [CLI, ...words], { stdio: 'inherit' }).status ?? 1
}

function showExample(): number {
  const { vmss } = makeExample('example')
  mkdirSync(MOUNTPOINT, { recursive: true })
  if (isMounted()) {
    vmssfs(['unmount', MOUNTPOINT])
  }
  console.log(`$ vmssfs ${vmss} ${MOUNTPOINT}`)
  const status = vmssfs([vmss, MOUNTPOINT])
  if (status !== 0) {
    return status
  }
  for (const command of TOUR) {
    console.log(`\n$ ${command}`)
    spawnSync(command, { shell: true, stdio: ['ignore', 'inherit', 'inherit'] })
  }
  console.log(`\nLook round in ${MOUNTPOINT}. Mount your own with: npm start -- guest.vmss /mnt/guest`)
  console.log(`Unmount with: npm start -- unmount ${MOUNTPOINT}`)
  return 0
}

function isMounted(): boolean {
  return existsSync(`${MOUNTPOINT}/meta`)
}
