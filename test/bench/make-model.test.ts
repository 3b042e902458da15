import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type ElementType, elementTypes, tensorBytes } from '../../bench/gguf-writer.js'
import { makeModel } from '../../bench/make-model.js'
import { elementTypeOf, type Mix, planTensors, shapes } from '../../bench/model-shapes.js'
import { randomBlocks } from '../../bench/random-blocks.js'
import { reader, withFolder } from '../support/model-file.js'
import { probe } from '../support/probe.js'
import { tinyModel } from '../support/tiny-model.js'

const { decodeRow } = probe<{ decodeRow(type: string, bytes: Uint8Array): Float32Array }>()

describe('random blocks', () => {
  const types = Object.keys(elementTypes) as ElementType[]

  test.each(types)('of %s are finite, centred, and as wide as asked', (type) => {
    const { bytes, values } = elementTypes[type]
    const length = (65536 / values) * bytes
    const decoded = decodeRow(type, randomBlocks(type, length, 0.05, { seed: 3, stream: 1 }))
    const mean = decoded.reduce((sum, value) => sum + value, 0) / decoded.length
    const square = decoded.reduce((sum, value) => sum + value * value, 0) / decoded.length
    expect(Number.isFinite(square)).toBe(true)
    expect(Math.abs(mean)).toBeLessThan(0.01)
    expect(Math.sqrt(square)).toBeGreaterThan(0.05 / 1.5)
    expect(Math.sqrt(square)).toBeLessThan(0.05 * 1.5)
  })

  test('are the same for the same seed and others for another', () => {
    const make = (seed: number, stream: number) =>
      randomBlocks('Q4_K', 144 * 4, 1, { seed, stream }).toString('hex')
    expect(make(1, 2)).toBe(make(1, 2))
    expect(new Set([make(1, 2), make(2, 2), make(1, 3)]).size).toBe(3)
  })
})

describe('shapes and mixes', () => {
  const megabytesRead = (name: string, mix: Mix): number => {
    const shape = shapes[name]
    if (!shape) throw new Error(`Expected a shape named ${name}`)
    const sizes = planTensors(shape)
      .filter((tensor) => shape.tied || tensor.name !== 'token_embd.weight')
      .map((tensor) => tensorBytes({ ...tensor, type: elementTypeOf(tensor, mix, shape) }))
    return sizes.reduce((sum, size) => sum + size, 0) / 1e6
  }

  // Measured on files that llama.cpp's own quantizer wrote of these two models.
  const measured: [string, Mix, number][] = [
    ['qwen3-0.6b', 'Q4_0', 375.6],
    ['qwen3-0.6b', 'Q4_K_M', 390.8],
    ['qwen3-0.6b', 'Q8_0', 633.5],
    ['qwen3-0.6b', 'F16', 1192.2],
    ['tinyllama-1.1b', 'Q4_0', 599],
    ['tinyllama-1.1b', 'Q4_K_M', 630],
    ['tinyllama-1.1b', 'Q8_0', 1099],
  ]

  test.each(measured)('%s in %s reads %d MB of weights per token', (name, mix, expected) => {
    expect(Math.abs(megabytesRead(name, mix) - expected)).toBeLessThan(expected < 500 ? 0.06 : 0.6)
  })

  test('take a narrower type where a block does not divide the row', () => {
    const shape = shapes['qwen2.5-0.5b']
    if (!shape) throw new Error('Expected the shape')
    for (const mix of ['Q4_K_M', 'Q2_K', 'Q6_K'] as const) {
      for (const tensor of planTensors(shape)) {
        const { values } = elementTypes[elementTypeOf(tensor, mix, shape)]
        expect((tensor.shape[0] ?? 0) % values).toBe(0)
      }
    }
  })
})

describe('a made model', () => {
  const make = (mix: Mix, use: (path: string) => void, seed = 1) =>
    withFolder((write) => {
      const tokenizer = write('tokenizer.gguf', tinyModel())
      const out = write('out.gguf', '')
      makeModel({ shape: 'tiny-test', type: mix, tokenizer, out, seed, vocabulary: 320 })
      use(out)
    })

  test('opens and computes finite logits, in every type and mix', () => {
    for (const mix of ['F32', 'F16', 'BF16', 'Q4_0', 'Q8_0', 'Q4_K_M', 'Q2_K', 'MXFP4'] as const) {
      make(mix, (path) => {
        const tokens = Int32Array.of(1, 70, 300, 319)
        const request = { path, ops: '', threads: 1, chunk: 8, tokens }
        const logits = probe.modelLogits({ ...request, cacheType: 'f32' })
        expect(logits.length).toBe(4 * 320)
        expect(logits.every(Number.isFinite), mix).toBe(true)
      })
    }
  })

  test('has the given tokenizer, padded to its vocabulary', () => {
    make('Q4_0', (path) => {
      const bytes = readFileSync(path)
      const entries = new Map(
        reader.parseGguf(bytes, false).entries.map(([k, t, v]) => [k, [t, v]]),
      )
      expect(entries.get('tokenizer.ggml.tokens')).toEqual(['array', 320])
      expect(entries.get('tokenizer.ggml.scores')).toEqual(['array', 320])
      expect(entries.get('qwen3.vocab_size')).toEqual(['u32', 320n])
      expect(entries.has('tokenizer.chat_template')).toBe(true)
    })
  })

  test('is the same file for the same seed', () => {
    const bytesOf = (seed: number): string => {
      let bytes = ''
      make('Q4_0', (path) => (bytes = readFileSync(path).toString('latin1')), seed)
      return bytes
    }
    const [first, again, other] = [5, 5, 6].map(bytesOf)
    expect(first === again).toBe(true)
    expect(first === other).toBe(false)
  })

  test('names the known shapes when it is asked for another', () => {
    const options = { type: 'Q4_0', tokenizer: 'none', out: 'none' } as const
    expect(() => makeModel({ ...options, shape: 'gpt-9' })).toThrow(/qwen3-0\.6b.*"gpt-9"/)
  })
})
