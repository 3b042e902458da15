import { describe, expect, it } from 'vitest'
import { checkOptions } from '../../lib/options.js'
import { packSampling, type SamplingOptions, samplingChecks, seedOf } from '../../lib/sampling.js'

const check = (options: SamplingOptions) => checkOptions('generate', options, samplingChecks)

describe('sampling options', () => {
  it.each<[string, unknown]>([
    ['temperature', 10.1],
    ['topK', -1],
    ['topP', 1.01],
    ['minP', -0.1],
    ['seed', -1],
    ['seed', 2 ** 53],
    ['repetitionPenalty', 0],
    ['repetitionPenalty', 0.0005],
    ['presencePenalty', -11],
    ['frequencyPenalty', Number.POSITIVE_INFINITY],
    ['logprobs', 21],
    ['logitBias', { '-1': 1 }],
    ['logitBias', { 7: 1, '07': 1 }],
    ['logitBias', { 5: 'x' }],
    ['logitBias', [1]],
    ['logitBias', new Map([[13, -100]])],
  ])('refuse %s: %j', (name, value) => {
    expect(() => check({ [name]: value } as SamplingOptions)).toThrow(`Expected "${name}" to be`)
  })

  it('cross as given, a bias as two arrays', () => {
    const options = check({ temperature: 0, topK: 40, logitBias: { 7: -100, 3: 2.5 } })
    expect(packSampling(options, 9)).toEqual({
      seed: 9,
      temperature: 0,
      topK: 40,
      biasTokens: Int32Array.of(3, 7),
      biasValues: Float32Array.of(2.5, -100),
    })
  })

  it('count seeds up and stop where numbers lose their last digit', () => {
    expect(seedOf(5, 2)).toBe(7)
    expect(() => seedOf(Number.MAX_SAFE_INTEGER, 1)).toThrow(TypeError)
  })
})
