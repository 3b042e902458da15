// The GPU job on the host form of the kernels: that it checks all operators, that it ends where the
// device is lost, and that what it writes can be read.

import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { ops } from '../support/ops.js'
import { buildFolder } from '../support/probe.js'

const job = join(buildFolder, 'gpu-job')
const library = join(buildFolder, 'libmillrace-cuda-host.so')
const run = promisify(execFile)

interface Row {
  name: string
  failed?: string
  error?: number
  us?: number
  tokens_s?: number
  graph_steps?: number
}

describe.skipIf(!existsSync(job) || !existsSync(library))('the GPU job', () => {
  it('checks and times everything', async () => {
    const out = join(mkdtempSync(join(tmpdir(), 'millrace-job-')), 'job.json')
    const { stdout } = await run(job, [library, '--small', '--out', out])
    expect(stdout).toMatch(/\n0 failed\n$/)
    const lines = readFileSync(out, 'utf8').trim().split('\n')
    const rows = lines.slice(1).map((line) => JSON.parse(line) as Row)
    const named = (start: string) => rows.filter(({ name }) => name.startsWith(start))
    for (const { name } of ops.matmulTypes()) {
      expect(named(`check matmul ${name} `)).not.toEqual([])
    }
    expect(named('check').every(({ error }) => (error ?? 1) < 0.01)).toBe(true)
    expect(named('bits')).toHaveLength(35)
    expect(named('steps ')).toMatchObject([
      { graph_steps: expect.any(Number) },
      { steps: 12 },
      { graph_steps: expect.any(Number) },
    ])
    expect(named('attention').every(({ us }) => (us ?? 0) > 0)).toBe(true)
    expect(named('decode').every(({ tokens_s }) => (tokens_s ?? 0) > 0)).toBe(true)
    expect(named('prefill')).toHaveLength(1)
  }, 180_000)

  it('ends with status 1 where the device is lost', async () => {
    const env = { ...process.env, MILLRACE_LOSE_DEVICE_AFTER: '3' }
    await expect(run(job, [library, '--small', 'rows'], { env })).rejects.toMatchObject({
      code: 1,
      stderr: 'gpu-job: the device was lost\n',
    })
  })

  it('does what is asked for, after what others left in the file', async () => {
    const out = join(mkdtempSync(join(tmpdir(), 'millrace-job-')), 'job.json')
    const always = [library, '--small', '--out', out]
    await run(job, [...always, '--only', 'norm', 'rows'])
    await run(job, [...always, '--only', 'decode tiny BF16 3 @', '--steps', '2', 'models'])
    const lines = readFileSync(out, 'utf8').trim().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as Row).name)).toEqual([
      undefined, // the device
      'check norm with add',
      undefined,
      'decode tiny BF16 3 @ 40 + 1',
    ])
    await expect(run(job, [library, 'nonsense'])).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^gpu-job <library>/),
    })
  })

  it('writes models with their prompts and logits', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-job-'))
    await run(job, [library, '--small', '--models', folder])
    for (const name of ['llama', 'qwen3']) {
      const tensors = readFileSync(join(folder, `${name}.txt`), 'utf8')
        .trim()
        .split('\n')
      const sizes = tensors.map((line) => line.split(' ').slice(1).map(Number))
      const count = sizes.reduce((sum, one) => sum + one.reduce((a, b) => a * b, 1), 0)
      const bytes = readFileSync(join(folder, `${name}.f32`))
      expect(bytes).toHaveLength(4 * count)
      const values = new Float32Array(bytes.buffer, bytes.byteOffset, count)
      expect(tensors.at(-1)).toBe('logits 40 2000')
      const logits = values.subarray(-40 * 2000)
      expect(logits.every(Number.isFinite)).toBe(true)
      expect(new Set(logits).size).toBeGreaterThan(40 * 1000)
    }
  }, 180_000)

  it('says what is wrong with a library and ends with status 1', async () => {
    await expect(run(job, ['/nowhere/library.so'])).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^gpu-job: .*\/nowhere\/library\.so/),
    })
  })
})
