// Aborts at random moments, from every side, with a cache that is too small: all pages come back.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Engine } from '../../lib/index.js'
import { hasShared } from '../support/shared.js'
import { delay, storyPath } from '../support/story.js'

// A small generator, so that a failing seed can be run again.
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

async function settled(engine: Engine): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const { running, waiting } = engine.stats()
    if (running + waiting === 0) return
    await delay(5)
  }
}

describe.skipIf(!hasShared)('aborts', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await Engine.open(storyPath, {
      threads: 1,
      maxSequences: 8,
      cacheTokens: 1536,
      stepTokens: 64,
    })
  })
  afterAll(() => engine.close())

  it.each(Array.from({ length: 10 }, (_, seed) => seed))(
    'of seed %i give back every page',
    async (seed) => {
      const next = random(seed + 1)
      const ways = await Promise.all(
        Array.from({ length: 32 }, async (_, i) => {
          const controller = new AbortController()
          const generation = engine.generate({
            prompt: Int32Array.from({ length: 1 + Math.floor(next() * 300) }, () =>
              Math.floor(3 + next() * 500),
            ),
            maxTokens: 1 + Math.floor(next() * 150),
            ignoreEos: true,
            seed: i,
            signal: controller.signal,
          })
          const way = Math.floor(next() * 4)
          const ms = next() * 40
          if (way === 0) setTimeout(() => generation.abort(), ms)
          if (way === 1) setTimeout(() => controller.abort(), ms)
          if (way === 2) {
            let left = Math.floor(next() * 20)
            for await (const _ of generation) if (left-- <= 0) break
          }
          return (await generation).finishReason
        }),
      )
      expect(ways.every((reason) => reason === 'abort' || reason === 'length')).toBe(true)
      await settled(engine)
      const stats = engine.stats()
      expect(stats).toMatchObject({ running: 0, waiting: 0, pagesHeld: 0, identityHolds: true })
      expect(stats.pagesFree + stats.pagesCached).toBe(stats.pagesTotal)
    },
  )

  it('of n answers end all of them', async () => {
    const generation = engine.generate({ prompt: 'Once', n: 6, maxTokens: 400, ignoreEos: true })
    for await (const piece of generation) if (piece.index === 3) break
    const { choices } = await generation
    expect(choices?.map((one) => one.finishReason)).toEqual(Array(6).fill('abort'))
  })

  it('of ids that are gone are ignored', async () => {
    const generation = engine.generate({ prompt: 'Once', maxTokens: 2 })
    await generation
    for (let i = 0; i < 100; i++) generation.abort()
    expect((await generation).finishReason).not.toBe('abort')
  })

  it('leave no listeners on a signal that many requests share', async () => {
    const controller = new AbortController()
    let listeners = 0
    const { addEventListener, removeEventListener } = controller.signal
    controller.signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++
      return addEventListener.apply(controller.signal, args)
    }
    controller.signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--
      return removeEventListener.apply(controller.signal, args)
    }
    const request = { prompt: 'Once', maxTokens: 3, signal: controller.signal }
    await Promise.all(Array.from({ length: 20 }, () => engine.generate(request)))
    await engine.score({ prompt: 'Once', signal: controller.signal })
    await delay(1)
    expect(listeners).toBe(0)
  })
})
