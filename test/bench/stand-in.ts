// A program of our own in the place of a peer's, for the tests of the drivers.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import type { Tools } from '../../bench/drivers/llama-tools.js'

/** While the tests of this `describe` run, the tools' folder has that one program. */
export function standIn(tools: Tools, name: string, program: string): void {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'millrace-tools-'))
    writeFileSync(join(folder, name), program)
    chmodSync(join(folder, name), 0o755)
    process.env[tools.variable] = folder
  })
  afterAll(() => {
    delete process.env[tools.variable]
    rmSync(folder, { recursive: true })
  })
}
