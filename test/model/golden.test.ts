// Tiny models against float64 truth, on every operator table of this machine.
// Tolerances are the manifest's: 2e-3 on F32 logits, mean KL within 1.1 of llama.cpp's on quantized
// files, 0.1 and KL 1e-3 with an F16 cache.

import { describe, expect, it } from 'vitest'
import {
  argMax,
  divergence,
  type GoldenModel,
  type GoldenPrompt,
  logSumExp,
  readLastLogits,
  readManifest,
  readPrompts,
} from '../support/golden.js'
import { probe } from '../support/probe.js'
import { hasShared, unpackedPath } from '../support/shared.js'

const families = ['llama', 'qwen2', 'qwen3']
// Types of the golden set that issue "The wheel turns" does not list.
const otherTypes = /^(IQ1|IQ2|IQ3|TQ)/
// Not a plain decoder: experts in a llama file.
const otherBlocks = ['mixtral']

const manifest = hasShared ? readManifest() : { models: [], quant: [] }
const plain = manifest.models.filter(
  (m) => families.includes(m.arch) && m.kind === 'logits' && !otherBlocks.includes(m.name),
)
const quantized = manifest.quant.filter(
  (m) =>
    families.includes(m.arch) && !Object.keys(m.tensor_types ?? {}).some((t) => otherTypes.test(t)),
)
const tables = probe.opsTables()

interface Run {
  ops: string
  cacheType?: 'f32' | 'f16' | 'q8_0'
  chunk?: number
  threads?: number
}

/** Logits of every position of prompt and continuation, one row each. */
function logitsOf(model: GoldenModel, ids: number[], run: Run): Float32Array[] {
  const all = probe.modelLogits({
    path: unpackedPath(`golden/${model.model}`),
    ops: run.ops,
    threads: run.threads ?? 1,
    chunk: run.chunk ?? 512,
    cacheType: run.cacheType ?? 'f32',
    tokens: Int32Array.from(ids),
  })
  const vocabulary = all.length / ids.length
  return ids.map((_, i) => all.subarray(i * vocabulary, (i + 1) * vocabulary))
}

const bytesOf = (row: Float32Array): Buffer =>
  Buffer.from(row.buffer, row.byteOffset, row.byteLength)

function expectNear(prompt: GoldenPrompt, logits: Float32Array[], tolerance: number): void {
  let worst = 0
  for (const [i, top] of prompt.top.entries()) {
    const row = logits[i] as Float32Array
    for (const [id, exact] of top) worst = Math.max(worst, Math.abs((row[id] as number) - exact))
    worst = Math.max(worst, Math.abs(logSumExp(row) - (prompt.logsumexp[i] as number)))
    if ((prompt.top1_margin[i] as number) > 2 * tolerance) {
      expect(argMax(row)).toBe(prompt.argmax[i])
    }
  }
  expect(worst).toBeLessThan(tolerance)
}

/** The exact continuation is fed back; every step with a clear margin must choose the same token. */
function expectGreedy(prompt: GoldenPrompt, logits: Float32Array[], tolerance: number): void {
  for (const [i, id] of prompt.greedy.ids.entries()) {
    if ((prompt.greedy.margin[i] as number) <= 2 * tolerance) continue
    expect(argMax(logits[prompt.ids.length - 1 + i] as Float32Array)).toBe(id)
  }
}

const withContinuation = (prompt: GoldenPrompt): number[] => [
  ...prompt.ids,
  ...prompt.greedy.ids.slice(0, -1),
]

describe.skipIf(!hasShared).each(tables)('F32 models on the %s table', (ops) => {
  it.each(plain.map((m) => [m.name, m] as const))('%s agrees with float64', (_, model) => {
    const last = readLastLogits(model)
    for (const [i, prompt] of readPrompts(model).entries()) {
      const logits = logitsOf(model, withContinuation(prompt), { ops })
      expectNear(prompt, logits, 2e-3)
      expectGreedy(prompt, logits, 2e-3)
      const final = logits[prompt.ids.length - 1] as Float32Array
      expect(divergence(last[i] as Float32Array, final)).toBeLessThan(1e-6)
    }
  })

  it.each(plain.map((m) => [m.name, m] as const))(
    '%s keeps within 0.1 on an F16 cache',
    (_, model) => {
      for (const prompt of readPrompts(model)) {
        expectNear(prompt, logitsOf(model, prompt.ids, { ops, cacheType: 'f16' }), 0.1)
      }
    },
  )

  it('gives the same bits in chunks of any length on any number of threads', () => {
    for (const model of plain) {
      const prompt = readPrompts(model).at(-1) as GoldenPrompt
      const whole = logitsOf(model, prompt.ids, { ops })
      for (const [chunk, threads] of [
        [1, 2],
        [7, 1],
        [64, 3],
      ] as const) {
        const parts = logitsOf(model, prompt.ids, { ops, chunk, threads })
        for (const [i, row] of whole.entries()) {
          expect(Buffer.compare(bytesOf(parts[i] as Float32Array), bytesOf(row))).toBe(0)
        }
      }
    }
  })
})

describe.skipIf(!hasShared)('quantized models', () => {
  it.each(quantized.map((m) => [m.name, m] as const))(
    '%s on the reference table, which keeps activations in F32, agrees with float64',
    (_, model) => {
      for (const prompt of readPrompts(model)) {
        expectNear(prompt, logitsOf(model, prompt.ids, { ops: 'reference' }), 2e-3)
      }
    },
  )

  for (const ops of tables.filter((table) => table !== 'reference')) {
    it.each(quantized.map((m) => [m.name, m] as const))(
      `%s on the ${ops} table is as close to exact as llama.cpp is`,
      (_, model) => {
        let sum = 0
        let count = 0
        for (const prompt of readPrompts(model)) {
          // The reference table stands for exact: the test above holds it to float64.
          const exact = logitsOf(model, prompt.ids, { ops: 'reference' })
          const logits = logitsOf(model, prompt.ids, { ops })
          for (const [i, row] of exact.entries()) sum += divergence(row, logits[i] as Float32Array)
          count += prompt.ids.length
        }
        expect(sum / count).toBeLessThanOrEqual(Math.max(1e-6, 1.1 * (model.llamacpp_kl_mean ?? 0)))
      },
    )
  }
})

// One prompt of each model, the shortest: the runner makes a fiber of every CUDA thread.
const hasCuda = probe.deviceTables().includes('cuda')
describe.skipIf(!hasShared || !hasCuda)('the host form of the CUDA kernels', () => {
  const ops = 'cuda'
  const shortest = (model: GoldenModel): GoldenPrompt =>
    readPrompts(model).reduce((a, b) => (b.ids.length < a.ids.length ? b : a))

  it.each(plain.map((m) => [m.name, m] as const))('%s agrees with float64', (_, model) => {
    const prompt = shortest(model)
    const logits = logitsOf(model, withContinuation(prompt), { ops })
    expectNear(prompt, logits, 2e-3)
    expectGreedy(prompt, logits, 2e-3)
  })

  it.each(quantized.map((m) => [m.name, m] as const))(
    '%s is as close to exact as llama.cpp is',
    (_, model) => {
      const prompt = shortest(model)
      const exact = logitsOf(model, prompt.ids, { ops: 'reference' })
      const logits = logitsOf(model, prompt.ids, { ops })
      const sum = exact.reduce((a, row, i) => a + divergence(row, logits[i] as Float32Array), 0)
      const mean = sum / prompt.ids.length
      expect(mean).toBeLessThanOrEqual(Math.max(1e-6, 1.1 * (model.llamacpp_kl_mean ?? 0)))
    },
  )

  it('gives the same bits token by token and at once', () => {
    const model = plain[0] as GoldenModel
    const { ids } = shortest(model)
    const whole = logitsOf(model, ids, { ops })
    const parts = logitsOf(model, ids, { ops, chunk: 1 })
    for (const [i, row] of whole.entries()) {
      expect(Buffer.compare(bytesOf(parts[i] as Float32Array), bytesOf(row))).toBe(0)
    }
  })
})
