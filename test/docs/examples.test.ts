import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { readExamples, toProgram } from '../support/examples.js'
import { hasShared, unpackedPath } from '../support/shared.js'
import { projectRoot } from '../support/sources.js'

const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'millrace-examples-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('the documentation has examples', () => {
  expect(readExamples().length).toBeGreaterThan(3)
})

// Skipped where the reference data is not beside the project: an example needs a model to open.
describe.skipIf(!hasShared)('every example runs', () => {
  test.each(readExamples())('$where', async (example) => {
    const path = join(folder, `${example.where.replace(/\W/g, '-')}.mts`)
    const model = unpackedPath('golden/real/stories260K.F32.gguf.gz')
    writeFileSync(path, toProgram(example, model))
    const loader = import.meta.resolve('tsx')
    await run(process.execPath, ['--import', loader, path], { cwd: projectRoot, timeout: 60_000 })
  })
})
