// Every method in every state of an engine and of a model: an answer or a coded error, never a hang.

import { afterEach, describe, expect, it } from 'vitest'
import { Engine, type Generation, Model } from '../../lib/index.js'
import { hasShared } from '../support/shared.js'
import { codeOf, delay, program, small, storyPath } from '../support/story.js'

const prompt = 'Once upon a time'
const long = { prompt, maxTokens: 450, ignoreEos: true }

interface Scene {
  engine: Engine
  generation?: Generation
}

/** An engine in each state. `failed` is in memory.test.ts, `in worker` and `at exit` beside this. */
const states: Record<string, () => Promise<Scene>> = {
  idle: async () => ({ engine: await Engine.open(storyPath, small) }),
  generating: async () => {
    const engine = await Engine.open(storyPath, small)
    const generation = engine.generate(long)
    await generation[Symbol.asyncIterator]().next()
    return { engine, generation }
  },
  aborted: async () => {
    const engine = await Engine.open(storyPath, small)
    const generation = engine.generate(long)
    generation.abort()
    return { engine, generation }
  },
  closing: async () => {
    const engine = await Engine.open(storyPath, small)
    const generation = engine.generate(long)
    void engine.close()
    return { engine, generation }
  },
  closed: async () => {
    const engine = await Engine.open(storyPath, small)
    const generation = engine.generate({ prompt, maxTokens: 2 })
    await engine.close()
    return { engine, generation }
  },
}

const answered = 'nothing thrown'
const lasting = { idle: answered, generating: answered, aborted: answered }

/** What each method gives in each state: a code, or nothing. */
const methods: Record<string, [(scene: Scene) => unknown, Record<string, string>]> = {
  generate: [
    ({ engine }) => engine.generate({ prompt, maxTokens: 3 }),
    { ...lasting, closing: 'closed', closed: 'closed' },
  ],
  'generate and break': [
    async ({ engine }) => {
      for await (const _ of engine.generate(long)) break
    },
    { ...lasting, closing: 'closed', closed: 'closed' },
  ],
  score: [
    ({ engine }) => engine.score({ prompt }),
    { ...lasting, closing: 'closed', closed: 'closed' },
  ],
  stats: [
    ({ engine }) => engine.stats().identityHolds,
    { ...lasting, closing: answered, closed: 'closed' },
  ],
  embed: [
    ({ engine }) => engine.embed('x'),
    Object.fromEntries(Object.keys(states).map((state) => [state, 'unsupported'])),
  ],
  close: [({ engine }) => engine.close(), { ...lasting, closing: answered, closed: answered }],
  'close at once': [
    ({ engine }) => engine.close({ drainMs: 0 }),
    { ...lasting, closing: answered, closed: answered },
  ],
  dispose: [
    ({ engine }) => engine[Symbol.asyncDispose](),
    { ...lasting, closing: answered, closed: answered },
  ],
  'abort a generation': [
    ({ generation }) => generation?.abort(),
    { ...lasting, closing: answered, closed: answered },
  ],
  'read a generation': [
    async ({ generation }) => {
      generation?.abort()
      await generation
    },
    { ...lasting, closing: answered, closed: answered },
  ],
  'tokenize with its model': [
    ({ engine }) => engine.model.tokenize(prompt),
    { ...lasting, closing: answered, closed: 'closed' },
  ],
}

describe.skipIf(!hasShared)('an engine', () => {
  let scene: Scene | undefined
  afterEach(async () => {
    await scene?.engine.close({ drainMs: 0 })
    scene = undefined
  })

  for (const [state, arrange] of Object.entries(states)) {
    for (const [name, [act, codes]] of Object.entries(methods)) {
      const expected = codes[state] as string
      it(`that is ${state} answers "${name}" with ${expected}`, async () => {
        scene = await arrange()
        expect(await codeOf(() => act(scene as Scene))).toBe(expected)
      })
    }
  }

  it('ends running generations with code "closed" when close() stops draining', async () => {
    scene = await states.idle?.()
    const { engine } = scene as Scene
    const all = Array.from({ length: 4 }, () => codeOf(() => engine.generate(long)))
    await engine.close({ drainMs: 0 })
    expect(new Set(await Promise.all(all))).toEqual(new Set(['closed']))
  })

  it('finishes running generations while it drains, and a second close may hurry', async () => {
    scene = await states.idle?.()
    const { engine } = scene as Scene
    const short = engine.generate({ prompt, maxTokens: 20, ignoreEos: true })
    await engine.close()
    expect((await short).tokens).toHaveLength(20)

    const hurried = await Engine.open(storyPath, small)
    const running = codeOf(() => hurried.generate(long))
    await Promise.all([hurried.close(), hurried.close({ drainMs: 0 })])
    expect(['closed', answered]).toContain(await running)
  })

  it('delivers every event before close() resolves', async () => {
    scene = await states.idle?.()
    const { engine } = scene as Scene
    let ended = 0
    for (let i = 0; i < 8; i++) {
      const count = () => ended++
      engine.generate({ ...long, seed: i, maxTokens: 30 }).then(count, count)
    }
    await engine.close()
    expect(ended).toBe(8)
  })

  it('lives beside another one, on one model, and outlives its close()', async () => {
    const model = await Model.open(storyPath)
    const [a, b] = await Promise.all([Engine.open(model, small), Engine.open(model, small)])
    const request = { prompt, maxTokens: 40, seed: 5 }
    const [one, two] = await Promise.all([a.generate(request).text(), b.generate(request).text()])
    expect(one).toBe(two)
    const left = b.generate(long)
    await a.close({ drainMs: 0 })
    await model.close()
    expect((await left).tokens.length).toBeGreaterThan(0)
    expect(await b.generate(request).text()).toBe(one)
    expect(await codeOf(() => model.tokenize('x'))).toBe('closed')
    expect(await codeOf(() => Engine.open(model))).toBe('closed')
    await b.close()
  })

  it('goes on when loops throw', async () => {
    scene = await states.idle?.()
    const { engine } = scene as Scene
    const loops = Array.from({ length: 8 }, async (_, i) => {
      for await (const piece of engine.generate({ ...long, seed: i })) {
        if (piece.tokens.length > 0) throw new RangeError(`loop ${i}`)
      }
    })
    const results = await Promise.allSettled(loops)
    expect(results.every((result) => result.status === 'rejected')).toBe(true)
    await delay(20)
    expect(engine.stats()).toMatchObject({ running: 0, pagesHeld: 0, state: 'open' })
    expect((await engine.generate({ prompt, maxTokens: 3 })).tokens.length).toBeGreaterThan(0)
  })

  it('is closed by the collector when nobody holds it', async () => {
    const { code, signal, stdout, stderr } = await program(
      `
      import { setFlagsFromString } from 'node:v8'
      import { runInNewContext } from 'node:vm'
      setFlagsFromString('--expose-gc')
      const gc = runInNewContext('gc')
      const model = await Model.open(story)
      for (let i = 0; i < 30; i++) {
        const engine = await Engine.open(model, small)
        await engine.generate({ prompt: 'One day', maxTokens: 3 })
        if (i % 3 === 0) void engine.generate({ prompt: 'One day', maxTokens: 200 })
        gc()
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      const { readdirSync } = await import('node:fs')
      for (let i = 0; i < 20; i++) {
        gc()
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      console.log('threads', readdirSync('/proc/self/task').length)
      `,
    )
    expect({ code, signal, stderr }).toMatchObject({ code: 0, signal: null })
    // Node's own, and a few of engines that the collector has not seen yet: not thirty times two.
    if (process.platform === 'linux') {
      expect(Number(/threads (\d+)/.exec(stdout)?.[1])).toBeLessThan(40)
    }
  })
})

describe.skipIf(!hasShared)('a model', () => {
  it('survives exceptions of onProgress, which end the opening', async () => {
    const { code, stdout, stderr } = await program(`
      const mine = new RangeError('mine')
      const onProgress = () => { throw mine }
      try {
        const model = await Model.open(story, { onProgress })
        console.log('opened without progress', model.info.layers)
        await model.close()
      } catch (error) { console.log(error === mine ? 'rejected with mine' : error) }
      const model = await Model.open(story)
      console.log('again', model.info.layers)
      await model.close()`)
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(stdout).toMatch(/^(rejected with mine|opened without progress 5)\nagain 5\n$/)
  })

  it('is closed while it opens, many times, without harm', async () => {
    const opens = Array.from({ length: 12 }, async (_, i) => {
      const controller = new AbortController()
      if (i % 2 === 0) setTimeout(() => controller.abort(), i)
      const model = await Model.open(storyPath, { signal: controller.signal })
      await model.close()
    })
    for (const result of await Promise.allSettled(opens)) {
      if (result.status === 'rejected') expect(result.reason.code).toBe('aborted')
    }
  })
})
