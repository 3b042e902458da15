// A model file that loses its end while it is mapped: an error with a code, never the end of the
// process, which is what the operating system would make of it (SIGBUS).

import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { isSanitized } from '../support/sanitized.js'
import { writeSmallModel } from '../support/small-model.js'
import { program } from '../support/story.js'

const folder = mkdtempSync(join(tmpdir(), 'millrace-shortened-'))
afterAll(() => rmSync(folder, { recursive: true }))

let copies = 0
const copy = (): string => {
  const path = join(folder, `${copies++}.gguf`)
  copyFileSync(writeSmallModel({ type: 'F16' }), path)
  return path
}

// What each program says: the code of what failed, and whether a built-in model still answers.
const tell = `
const code = (promise) => promise.then(() => 'none', (error) => error.code + ' ' + error.message)
const still = async () => {
  const other = await Engine.open('builtin:brook', { cacheTokens: 256, device: 'cpu' })
  const { tokens } = await other.generate({ prompt: 'One', maxTokens: 3, ignoreEos: true })
  await other.close()
  return tokens.length
}
const { truncateSync } = await import('node:fs')
`

describe.skipIf(process.platform === 'win32')('a mapped file that becomes shorter', () => {
  it('before its engine opens fails the opening', async () => {
    const path = copy()
    const { signal, stdout, stderr } = await program(`${tell}
      const model = await Model.open(${JSON.stringify(path)})
      truncateSync(${JSON.stringify(path)}, 4096)
      console.log(await code(Engine.open(model, small)))
      console.log(await still())`)
    expect({ signal, stderr }).toEqual({ signal: null, stderr: '' })
    expect(stdout).toMatch(/^bad-file .*some cannot be read any more\n3\n$/)
    expect(stdout).toContain(path)
  })

  it('while its engine generates fails what runs, and the engine says so', async () => {
    const path = copy()
    const { signal, stdout, stderr } = await program(`${tell}
      const engine = await Engine.open(${JSON.stringify(path)}, small)
      const tokens = Int32Array.from({ length: 8 }, (_, i) => 5 + i)
      const long = engine.generate({ prompt: tokens, maxTokens: 900, ignoreEos: true })
      for await (const _ of long) break
      await long
      truncateSync(${JSON.stringify(path)}, 4096)
      const prompt = Int32Array.from({ length: 200 }, (_, i) => 3 + i)
      console.log(await code(engine.generate({ prompt, maxTokens: 500, ignoreEos: true })))
      console.log(await code((async () => engine.generate({ prompt }))()))
      console.log(engine.stats().state, await still())`)
    expect({ signal, stderr }).toEqual({ signal: null, stderr: '' })
    const lines = stdout.split('\n')
    expect(lines[0]).toMatch(/^bad-file .*some cannot be read any more$/)
    expect(lines[1]).toMatch(/^failed /)
    expect(lines[2]).toBe('failed 3')
  })

  it('changes nothing where the file was read and not mapped', async () => {
    const path = copy()
    const { stdout } = await program(`${tell}
      const model = await Model.open(${JSON.stringify(path)}, { useMmap: false })
      truncateSync(${JSON.stringify(path)}, 0)
      const engine = await Engine.open(model, small)
      const prompt = Int32Array.of(5, 6, 7)
      const { tokens } = await engine.generate({ prompt, maxTokens: 9, ignoreEos: true })
      console.log(tokens.length)`)
    expect(stdout).toBe('9\n')
  })

  // A sanitizer brings its own handlers.
  it.skipIf(isSanitized).each([
    ['still ends the process', '', { code: null, signal: 'SIGBUS' }],
    [
      'reaches who listened before',
      "process.on('SIGBUS', () => process.exit(7))",
      { code: 7, signal: null },
    ],
  ])('a bus error from elsewhere %s', async (_, before, expected) => {
    const { code, signal } = await program(`${before}
      const model = await Model.open('builtin:brook')
      process.kill(process.pid, 'SIGBUS')
      await new Promise((resolve) => setTimeout(resolve, 5000))
      console.log(model.info.name)`)
    expect({ code, signal }).toEqual(expected)
  })
})
