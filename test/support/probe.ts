// Loads the test-only addon. Each test states the shape of the functions it uses:
//   const { errorCodes } = probe<{ errorCodes(): string[] }>()
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')
const addonPath = join(
  root,
  process.env.MILLRACE_BUILD_DIR ?? 'build/Release',
  'millrace_probe.node',
)

export function probe<T>(): T {
  if (!existsSync(addonPath)) {
    throw new Error(`Expected the probe addon at ${addonPath}: run "npm run build" first`)
  }
  return createRequire(import.meta.url)(addonPath) as T
}
