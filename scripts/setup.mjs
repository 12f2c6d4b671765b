// Makes everything that `npm start` and `npm test` need, on a machine that has Node and nothing else: the npm packages, fuse3
// and the build. Plain JavaScript, since there is no compiler yet when it runs. What is there already is left alone.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const TOP = fileURLToPath(new URL('..', import.meta.url))
const NODE_MAJOR = 20
const BUILT = join(TOP, 'dist', '.built')

/** How each package manager installs fuse3. */
const INSTALL_FUSE = {
  'apt-get': 'apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 fuse3',
  dnf: 'dnf install -y fuse3 fuse',
  zypper: 'zypper --non-interactive install fuse3 fuse',
  pacman: 'pacman -S --noconfirm fuse3 fuse2',
  apk: 'apk add fuse3 fuse',
}

checkNode()
installPackages()
installFuse()
build()

function checkNode() {
  if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR) {
    fail(`expected Node ${NODE_MAJOR} or later, found ${process.versions.node}`)
  }
}

function installPackages() {
  // npm writes this file last, so it is older than the lock file where an install is missing or was cut short.
  const installed = join(TOP, 'node_modules', '.package-lock.json')
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(TOP, 'package-lock.json')).mtimeMs) {
    return
  }
  // fuse-native brings its binary in the package; its install script has nothing to do.
  run(
    'installing the npm packages',
    'npm ci --include=dev --include=optional --ignore-scripts --no-audit --no-fund --loglevel=error',
  )
}

function installFuse() {
  if (process.platform !== 'linux' || hasProgram('fusermount3')) {
    return
  }
  const manager = Object.keys(INSTALL_FUSE).find(hasProgram)
  const command = manager === undefined ? undefined : INSTALL_FUSE[/** @type {keyof typeof INSTALL_FUSE} */ (manager)]
  if (command === undefined) {
    say('fuse3 is missing, and there is no package manager that we know: install it by hand')
  } else if (process.getuid?.() !== 0) {
    say(`fuse3 is missing, and mounting needs it. Install it with: sudo ${command}`)
  } else {
    if (manager === 'apt-get') {
      run('updating the package lists', 'apt-get update -qq')
    }
    run('installing fuse3', command)
  }
}

function build() {
  const newest = Math.max(
    ...['src', 'scripts', 'test', 'tsconfig.json', 'package-lock.json'].map((name) => newestIn(join(TOP, name))),
  )
  if (existsSync(BUILT) && statSync(BUILT).mtimeMs >= newest) {
    return
  }
  // A test that was renamed must not live on in the output.
  rmSync(join(TOP, 'dist'), { recursive: true, force: true })
  run('building', `"${process.execPath}" node_modules/typescript/bin/tsc`)
  mkdirSync(join(TOP, 'dist'), { recursive: true })
  writeFileSync(BUILT, '')
}

/**
 * The latest time of change of a file, or of anything in a folder, in milliseconds.
 * @param {string} path
 * @returns {number}
 */
function newestIn(path) {
  const stats = statSync(path)
  const inside = stats.isDirectory() ? readdirSync(path).map((name) => newestIn(join(path, name))) : []
  return Math.max(stats.mtimeMs, ...inside)
}

/**
 * Runs a command line, silent unless it fails.
 * @param {string} what
 * @param {string} command
 */
function run(what, command) {
  say(`${what} ...`)
  const { status, stdout, stderr } = spawnSync(command, { cwd: TOP, shell: true, encoding: 'utf8' })
  if (status !== 0) {
    fail(`${what} failed (${command}):\n${stdout}${stderr}`)
  }
}

/**
 * @param {string} name
 * @returns {boolean}
 */
function hasProgram(name) {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)))
}

/** @param {string} text */
function say(text) {
  process.stderr.write(`setup: ${text}\n`)
}

/**
 * @param {string} text
 * @returns {never}
 */
function fail(text) {
  say(text)
  process.exit(1)
}
