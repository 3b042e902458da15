// A real trained model through the public API: continuations, text, log-probabilities, perplexity.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Engine } from '../../lib/index.js'
import { hasShared, sharedJson, unpackedPath } from '../support/shared.js'

interface Continuation {
  prompt: string
  ids: number[]
  greedy: number[]
  margin: number[]
  logprob: number[]
  text: string
}

interface Text {
  ids: number[]
  logprob: number[]
  perplexity: number
  llamacpp_perplexity: number
}

interface Story {
  continuations: Continuation[]
  texts: Text[]
}

// Logit noise that the manifest allows each file: F32 within 2e-3; F16 with its activations in F32
// likewise; quantized files as far as llama.cpp's own are from exact (about 0.4).
const noise = { F32: 2e-3, F16: 2e-3, Q8_0: 0.4, Q4_0: 0.4 } as const

describe.skipIf(!hasShared).each(Object.entries(noise))('stories260K.%s', (type, tolerance) => {
  const golden = hasShared
    ? sharedJson<Story>(`golden/real/stories260K.${type}.json.gz`)
    : { continuations: [], texts: [] }
  let engine: Engine

  beforeAll(async () => {
    const path = unpackedPath(`golden/real/stories260K.${type}.gguf.gz`)
    engine = await Engine.open(path, { cacheType: 'f32', threads: 2 })
  })
  afterAll(() => engine.close())

  it('continues each prompt as exact arithmetic does, up to the first near tie', async () => {
    for (const { prompt, ids, greedy, margin } of golden.continuations) {
      expect([...engine.model.tokenize(prompt, { addSpecial: true })]).toEqual(ids)
      const nearTie = margin.findIndex((m) => m <= 2 * tolerance)
      const clear = nearTie < 0 ? greedy.length : nearTie
      const completion = await engine.generate({
        prompt: ids,
        temperature: 0,
        maxTokens: Math.max(1, clear),
        ignoreEos: true,
      })
      expect([...completion.tokens].slice(0, clear)).toEqual(greedy.slice(0, clear))
    }
  })

  it('gives the same continuation for a prompt as text and as tokens', async () => {
    for (const { prompt, ids } of golden.continuations.slice(0, 3)) {
      const request = { temperature: 0, maxTokens: 40 }
      const [text, tokens] = await Promise.all([
        engine.generate({ ...request, prompt }),
        engine.generate({ ...request, prompt: ids }),
      ])
      expect([...text.tokens]).toEqual([...tokens.tokens])
      expect(text.text).toBe(tokens.text)
    }
  })

  it('scores each text within what the manifest allows', async () => {
    for (const { ids, logprob, perplexity, llamacpp_perplexity } of golden.texts) {
      const score = await engine.score({ prompt: ids })
      expect(score.logprobs[0]).toBeNaN()
      const own = [...score.logprobs].slice(1)
      expect(own).toHaveLength(logprob.length)
      const mean = own.reduce((sum, value) => sum + value, 0) / own.length
      const ownPerplexity = Math.exp(-mean)
      const allowed =
        tolerance < 0.1
          ? 1e-4 * perplexity
          : Math.max(Math.abs(llamacpp_perplexity - perplexity), 0.005 * perplexity)
      expect(Math.abs(ownPerplexity - perplexity)).toBeLessThanOrEqual(allowed)
      if (tolerance < 0.1) {
        for (const [i, exact] of logprob.entries()) {
          expect(Math.abs((own[i] as number) - exact)).toBeLessThan(2 * tolerance)
        }
      }
    }
  })
})

describe.skipIf(!hasShared)('the text of a continuation', () => {
  it('is the text that the reference wrote', async () => {
    const golden = sharedJson<Story>('golden/real/stories260K.F32.json.gz')
    await using engine = await Engine.open(unpackedPath('golden/real/stories260K.F32.gguf.gz'), {
      cacheType: 'f32',
    })
    for (const { ids, greedy, text } of golden.continuations) {
      let streamed = ''
      const generation = engine.generate({
        prompt: ids,
        temperature: 0,
        maxTokens: greedy.length,
        ignoreEos: true,
      })
      for await (const piece of generation) streamed += piece.text
      const completion = await generation
      expect(streamed).toBe(completion.text)
      expect(completion.text).toBe(text)
    }
  })
})
