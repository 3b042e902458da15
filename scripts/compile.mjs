// Called by binding.gyp: builds the addon with cmake-js and copies it into the folder given.
// Plain JavaScript on Node alone, because it also runs where only the packed package is installed.

import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const target = process.argv[2]
const build = join('build', 'cmake')
const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/package.json')
const ended = spawnSync(
  process.execPath,
  [join(dirname(cmakeJs), 'bin', 'cmake-js'), 'compile', '--out', build, '--parallel', '4'],
  { stdio: 'inherit' },
)
if (ended.status !== 0) process.exit(ended.status ?? 1)
mkdirSync(target, { recursive: true })
copyFileSync(join(build, 'Release', 'millrace.node'), join(target, 'millrace.node'))
