// The models that travel in the package.

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { MillraceError } from './errors.js'

// Both lib and dist lie beside the folder of models.
const files: Readonly<Record<string, string>> = {
  brook: '../models/brook/brook.gguf',
}

/**
 * The file of `builtin:<name>`.
 *
 * @throws MillraceError `not-found` for a name that nobody knows, or where the file is missing
 */
export function builtinPath(source: string): string {
  const name = source.slice('builtin:'.length)
  const file = Object.hasOwn(files, name) ? files[name] : undefined
  if (file === undefined) {
    const known = Object.keys(files).map((one) => `builtin:${one}`)
    throw new MillraceError('not-found', `Expected ${known.join(' or ')} but received "${source}"`)
  }
  const path = fileURLToPath(new URL(file, import.meta.url))
  if (!existsSync(path)) throw new MillraceError('not-found', `"${source}" has no file ${path}`)
  return path
}
