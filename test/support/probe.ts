// The test-only addon: internal functions of every floor over typed arrays.
// test/native/probe/<floor>.cpp registers them; their TypeScript shape stands here or in the test.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

export interface Probe {
  // base
  errorCodes(): string[]
  /** Sets MILLRACE_OPS for the addons; `process.env` would not reach them from a worker. */
  setOps(table: string | undefined): void
  // ops
  opsTables(): string[]
  /** Those and, where it was built, "cuda": the host form of the CUDA kernels. */
  deviceTables(): string[]
  // model
  modelLogits(request: {
    path: string
    ops: string
    threads: number
    chunk: number
    cacheType: 'f32' | 'f16' | 'q8_0'
    tokens: Int32Array
  }): Float32Array
}

const root = join(import.meta.dirname, '../..')

/** Where the addons under test are: a sanitizer run points MILLRACE_BUILD elsewhere. */
export const buildFolder = join(root, process.env.MILLRACE_BUILD ?? 'build/Release')

function load(): Probe {
  const path = join(buildFolder, 'millrace_probe.node')
  if (!existsSync(path)) throw new Error(`Expected the probe at ${path}: run "npm run build" first`)
  return createRequire(import.meta.url)(path) as Probe
}

const addon = load()

/** `probe.name(...)` for what is stated above, `probe<T>()` for what a test states itself. */
export const probe: Probe & (<T>() => T) = Object.assign(<T>() => addon as unknown as T, addon)
