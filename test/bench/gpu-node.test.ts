// What is asked of a GPU through the public API, on the host form of the kernels.

import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { buildFolder } from '../support/probe.js'
import { writeSmallModel } from '../support/small-model.js'
import { projectRoot } from '../support/sources.js'

const library = join(buildFolder, 'libmillrace-cuda-host.so')
const run = promisify(execFile)

interface Row {
  name: string
  failed?: string
  tokens_s?: number
  native_tokens_s?: number
  share?: number
}

describe.skipIf(!existsSync(library))('the GPU job in Node', () => {
  const rowsOf = async (out: string, ...args: string[]): Promise<Row[]> => {
    const program = ['--import', 'tsx', 'bench/gpu/node.ts', '--small', '--root', projectRoot]
    const env = { ...process.env, MILLRACE_OPS: undefined }
    const all = [...program, '--library', library, '--out', out, ...args]
    const ended = run(process.execPath, all, { cwd: projectRoot, env })
    const { stdout, code } = await ended.then(
      ({ stdout }) => ({ stdout, code: 0 }),
      (error: { stdout: string; code: number }) => error,
    )
    const lines = readFileSync(out, 'utf8').trim().split('\n')
    const rows = lines.map((line) => JSON.parse(line) as Row)
    const failures = rows.filter(({ failed }) => failed).length
    expect(stdout).toContain(`${failures} failed\n`)
    expect(code).toBe(failures > 0 ? 1 : 0)
    return rows
  }
  const fresh = (): string => join(mkdtempSync(join(tmpdir(), 'millrace-node-')), 'rows.jsonl')

  it('checks the laws', async () => {
    const model = writeSmallModel({ type: 'Q8_0' })
    const rows = await rowsOf(fresh(), '--only', 'laws', '--model', model)
    expect(rows).toEqual(
      ['together', 'after a prefix hit', 'beside one that is stopped', 'in chunks'].map((law) => ({
        name: `node law ${law}`,
        requests: 8,
      })),
    )
  }, 120_000)

  it('measures many sequences beside what the native job found', async () => {
    const out = fresh()
    const native = { name: 'decode tiny-test BF16 3 @ 24 + 1', tokens_s: 100 }
    writeFileSync(out, `${JSON.stringify(native).replaceAll('":', '": ')}\n`)
    const load = ['--sequences', '3', '--context', '24', '--tokens', '16', '--vocabulary', '4096']
    const model = ['--shape', 'tiny-test', '--type', 'BF16']
    const [, row] = await rowsOf(out, '--only', 'speed', ...model, ...load)
    expect(row).toMatchObject({ name: 'node decode tiny-test BF16 3 @ 24', native_tokens_s: 100 })
    expect(row?.tokens_s).toBeGreaterThan(0)
    expect(row?.share).toBeCloseTo((row?.tokens_s ?? 0) / 100)
  }, 120_000)

  it.each([
    ['all', /Expected --only laws, golden, speed but received "all"/],
    ['golden', /Expected --golden <folder of the reference data> beside --only golden/],
  ])('refuses --only %s by name', async (only, message) => {
    const program = ['--import', 'tsx', 'bench/gpu/node.ts', '--only', only]
    await expect(run(process.execPath, program, { cwd: projectRoot })).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(message),
    })
  })

  it('says what failed and ends with status 1', async () => {
    const rows = await rowsOf(fresh(), '--only', 'laws', '--model', '/nowhere.gguf')
    expect(rows).toMatchObject([{ name: 'node laws', failed: expect.stringContaining('/nowhere') }])
  })
})
