// Packed weights are a copy for speed: without it the file's own memory gives the same tokens.

import { afterEach, expect, it } from 'vitest'
import { Engine, Model } from '../../lib/index.js'
import { writeSmallModel } from '../support/small-model.js'

const before = process.env.MILLRACE_PACKED

afterEach(() => {
  if (before === undefined) delete process.env.MILLRACE_PACKED
  else process.env.MILLRACE_PACKED = before
})

it.each(['Q4_0', 'F16'] as const)(
  'MILLRACE_PACKED=0 keeps one copy of %s and every token',
  async (type) => {
    const file = writeSmallModel({ type })
    const open = async (packed: string): Promise<[number, number[][]]> => {
      process.env.MILLRACE_PACKED = packed
      await using model = await Model.open(file)
      await using engine = await Engine.open(model, {
        device: 'cpu',
        threads: 2,
        cacheTokens: 1024,
      })
      const answers = [[1, 300, 17], Array.from({ length: 40 }, (_, i) => 200 + i)].map((prompt) =>
        engine.generate({ prompt, maxTokens: 12, temperature: 0, ignoreEos: true }),
      )
      const tokens = (await Promise.all(answers)).map((answer) => [...answer.tokens])
      return [engine.stats().weightsBytes, tokens]
    }
    const [packedBytes, packed] = await open('1')
    const [plainBytes, plain] = await open('0')
    expect(plain).toEqual(packed)
    expect(plainBytes).toBeLessThan(packedBytes / 4) // vectors, which are decoded
  },
)
