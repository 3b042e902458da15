// npm's `install`: nothing if a prebuilt addon fits this machine, else node-gyp-build compiles one.
// A clone of the repository is left alone: there `npm run build` is the one way.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'

const require = createRequire(import.meta.url)
const root = resolve(import.meta.dirname, '..')

function hasPrebuilt() {
  try {
    require('node-gyp-build').resolve(root)
    return true
  } catch {
    return false
  }
}

/** Where Node came with its headers, node-gyp must not download them. */
function headersBesideNode() {
  const prefix = resolve(dirname(process.execPath), '..')
  return existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? prefix : undefined
}

const isClone = existsSync(join(root, 'test'))
if (!isClone && !hasPrebuilt()) {
  const nodedir = headersBesideNode()
  const env = { ...process.env, ...(nodedir ? { npm_config_nodedir: nodedir } : {}) }
  const compile = require.resolve('node-gyp-build/bin.js')
  process.exit(
    spawnSync(process.execPath, [compile], { cwd: root, stdio: 'inherit', env }).status ?? 1,
  )
}
