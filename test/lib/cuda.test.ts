// An engine on the device library, in the host form of its kernels: what a GPU would be asked, end
// to end, in memory that the host cannot touch. Whoever touches it ends this file's process.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Engine, type EngineOptions, type GenerateRequest, Model } from '../../lib/index.js'
import { native } from '../../lib/native.js'
import { buildFolder } from '../support/probe.js'
import { writeSmallModel } from '../support/small-model.js'
import { codeOf } from '../support/story.js'

const library = join(buildFolder, 'libmillrace-cuda-host.so')
const options: EngineOptions = { threads: 1, cacheTokens: 512, maxSequences: 4, stepTokens: 16 }
const prompts = [[1, 300, 17], Array.from({ length: 70 }, (_, i) => 200 + i), [1, 5, 5, 400]]
const variables = [
  'MILLRACE_CUDA_AHEAD',
  'MILLRACE_CUDA_LIBRARY',
  'MILLRACE_DEVICE_BYTES',
  'MILLRACE_LOSE_DEVICE_AFTER',
  'MILLRACE_OPS',
]
const before = variables.map((name) => process.env[name])

function restore(): void {
  for (const [i, name] of variables.entries()) {
    if (before[i] === undefined) delete process.env[name]
    else process.env[name] = before[i]
  }
}

describe.skipIf(!existsSync(library))('an engine on the device library', () => {
  let model: Model
  beforeAll(async () => {
    model = await Model.open(writeSmallModel({ type: 'F32' }))
  })
  afterAll(() => model.close())

  const useLibrary = (path = library): void => {
    delete process.env.MILLRACE_OPS
    process.env.MILLRACE_CUDA_LIBRARY = path
  }
  afterEach(restore)

  const answer = async (engine: Engine, prompt: number[], maxTokens = 5): Promise<number[]> => {
    const request = { prompt, maxTokens, temperature: 0, ignoreEos: true }
    return [...(await engine.generate(request)).tokens]
  }

  it.each(['f32', 'f16', 'q8_0'] as const)(
    'says what the CPU says, alone, together and after a prefix hit, on a cache of %s',
    async (cacheType) => {
      await using cpu = await Engine.open(model, { ...options, cacheType, device: 'cpu' })
      const expected = await Promise.all(prompts.map((prompt) => answer(cpu, prompt)))
      useLibrary()
      await using engine = await Engine.open(model, { ...options, cacheType, device: 'cuda' })
      const { device, ops, hardware } = engine.stats()
      expect([device, ops]).toEqual(['cuda:0', 'cuda'])
      expect(hardware).toMatch(/host form/)
      expect(await answer(engine, prompts[1] ?? [])).toEqual(expected[1])
      const together = await Promise.all(prompts.map((prompt) => answer(engine, prompt)))
      expect(together).toEqual(expected)
      expect(engine.stats().cachedTokens).toBeGreaterThan(0)
      expect(engine.stats().identityHolds).toBe(true)
    },
  )

  it.each([9, 10])('fills a step of 9 sequences up as far as %i fit', async (fit) => {
    const nine = Array.from({ length: 9 }, (_, i) => [1, 300 + i])
    const most = { ...options, cacheTokens: 1024, maxSequences: fit, stepTokens: fit }
    await using cpu = await Engine.open(model, { ...most, device: 'cpu' })
    const answers = (engine: Engine): Promise<number[][]> =>
      Promise.all(nine.map((prompt) => answer(engine, prompt, 9))) // all are under way by the third
    const expected = await answers(cpu)
    useLibrary()
    await using engine = await Engine.open(model, { ...most, device: 'cuda' })
    expect(await answers(engine)).toEqual(expected)
  })

  it('asks for a step before it knows what the one before draws, and says the same', async () => {
    useLibrary()
    const run = async (ahead: string): Promise<[number[][], number]> => {
      process.env.MILLRACE_CUDA_AHEAD = ahead
      await using engine = await Engine.open(model, { ...options, device: 'cuda' })
      const [prompt = []] = prompts
      const free = { prompt, temperature: 1, seed: 7, maxTokens: 8, ignoreEos: true }
      const { tokens } = await engine.generate(free)
      const stopTokens = [tokens[4] ?? 0] // an end that nobody can tell before
      const penalty = { repetitionPenalty: 1.3, stopTokens }
      const answers = [
        tokens,
        (await engine.generate({ ...free, stopTokens })).tokens,
        (await engine.generate({ ...free, ...penalty })).tokens,
      ]
      const { steps } = engine.stats()
      const together = [0, 5].map((seed) => engine.generate({ ...free, seed }))
      for (const { tokens } of await Promise.all(together)) answers.push(tokens)
      expect(engine.stats()).toMatchObject({ identityHolds: true, pagesHeld: 0, failed: 0 })
      return [answers.map((answer) => [...answer]), steps]
    }
    const [expected, steps] = await run('0')
    expect(expected[1]).toEqual(expected[0]?.slice(0, expected[1]?.length))
    expect(expected[1]?.length).toBeLessThan(expected[0]?.length ?? 0)
    // A step for nothing after the end that came early; penalties want to know what was drawn.
    expect(await run('1')).toEqual([expected, steps + 1])
  })

  it('ends what is stopped, or late, while steps are on their way', async () => {
    useLibrary()
    await using engine = await Engine.open(model, { ...options, device: 'cuda' })
    const endless = { prompt: [1, 300, 17], maxTokens: 200, temperature: 0, ignoreEos: true }
    const expected = await answer(engine, endless.prompt, 12)
    const stop = new AbortController()
    const [stopped, late, whole] = await Promise.all([
      (async () => {
        const stream = engine.generate({ ...endless, signal: stop.signal })
        for await (const piece of stream) if (piece.tokens.length > 0) break
        stop.abort()
        return stream
      })(),
      codeOf(() => engine.generate({ ...endless, deadlineMs: 40 })),
      engine.generate({ ...endless, maxTokens: 12 }),
    ])
    expect(stopped.finishReason).toBe('abort')
    expect(late).toBe('deadline')
    expect([...whole.tokens]).toEqual(expected)
    expect(engine.stats()).toMatchObject({ identityHolds: true, pagesHeld: 0 })
  })

  it('draws the same whether or not log-probabilities are asked for', async () => {
    const samplings: Partial<GenerateRequest>[] = [
      { temperature: 0 },
      { temperature: 1, topK: 1 },
      { temperature: 1, topK: 40, seed: 1 },
      { temperature: 0.8, topK: 128, topP: 0.9, minP: 0.01, seed: 2 },
      { temperature: 1, topK: 200, seed: 3 },
      { temperature: 1, topP: 0.8, seed: 4 },
      { temperature: 1, topK: 20, repetitionPenalty: 1.5, seed: 5 },
      { temperature: 0, logitBias: { 7: 100 } },
    ]
    useLibrary()
    await using engine = await Engine.open(model, {
      ...options,
      device: 'cuda',
      maxSequences: samplings.length,
    })
    const draw = (more: Partial<GenerateRequest>): Promise<number[][]> =>
      Promise.all(
        samplings.map(async (sampling) => {
          const [prompt = []] = prompts
          const request = { prompt, maxTokens: 6, ignoreEos: true, ...sampling, ...more }
          return [...(await engine.generate(request)).tokens]
        }),
      )
    const found = await draw({})
    expect(found).toEqual(await draw({ logprobs: 0 }))
    expect(found[0]).toEqual(found[1])
    expect(found.at(-1)).toEqual(Array(6).fill(7))
    expect(new Set(found.map(String)).size).toBeGreaterThan(4)
  })

  it('scores as the CPU does', async () => {
    const prompt = prompts[1] ?? []
    await using cpu = await Engine.open(model, { ...options, device: 'cpu' })
    const expected = await cpu.score({ prompt, top: 2 })
    useLibrary()
    await using engine = await Engine.open(model, { ...options, device: 'cuda' })
    const found = await engine.score({ prompt, top: 2 })
    for (const [i, logprob] of found.logprobs.entries()) {
      if (i > 0) expect(logprob).toBeCloseTo(expected.logprobs[i] ?? Number.NaN, 2)
    }
  })

  it('is what "auto" takes where there is one', async () => {
    useLibrary()
    await using engine = await Engine.open(model, options)
    expect(engine.stats()).toMatchObject({ device: 'cuda:0' })
    expect(engine.stats().whyNoGpu).toBeUndefined()
    const { devices } = await native.devices().promise
    expect(devices.map(({ name }) => name)).toEqual(['cuda:0', 'cuda:1', 'cpu'])
  })

  it.each([
    ['is not there', '/nowhere/library.so', /\/nowhere\/library\.so/],
    [
      'is another one',
      join(buildFolder, 'millrace.node'),
      /millrace\.node is no device library of this package/,
    ],
  ])('with a library that %s, "auto" takes the CPU and says why', async (_, path, why) => {
    useLibrary(path)
    expect(await codeOf(() => Engine.open(model, { ...options, device: 'cuda' }))).toBe(
      'unsupported',
    )
    await using engine = await Engine.open(model, options)
    expect(engine.stats().device).toBe('cpu')
    expect(engine.stats().whyNoGpu).toMatch(why)
    expect((await native.devices().promise).whyNoGpu).toMatch(why)
  })

  it('runs on the second device, too', async () => {
    useLibrary()
    await using first = await Engine.open(model, { ...options, device: 'cuda' })
    await using second = await Engine.open(model, { ...options, device: 'cuda:1' })
    expect(second.stats().device).toBe('cuda:1')
    const answers = [first, second].map((engine) => answer(engine, prompts[0] ?? []))
    const [a, b] = await Promise.all(answers)
    expect(a).toEqual(b)
  })

  it.each([
    [0, /^cannot allocate \d+ bytes for the weights: 0 are free on cuda:0$/],
    [100_000, /^cannot allocate \d+ bytes for the weights: \d+ are free on cuda:0$/],
    [400_000, /^cannot allocate \d+ bytes for /],
  ])('"auto" takes the CPU where a device has %i bytes', async (bytes, why) => {
    useLibrary()
    process.env.MILLRACE_DEVICE_BYTES = String(bytes)
    expect(await codeOf(() => Engine.open(model, { ...options, device: 'cuda' }))).toBe(
      'out-of-memory',
    )
    await using engine = await Engine.open(model, options)
    expect(engine.stats().device).toBe('cpu')
    expect(engine.stats().whyNoGpu).toMatch(why)
    expect(await answer(engine, prompts[0] ?? [])).toHaveLength(5)
  })

  it.each([
    ['reference', 'cpu'],
    ['', 'cuda:0'],
  ])('with MILLRACE_OPS "%s", "auto" takes %s', async (table, device) => {
    useLibrary()
    process.env.MILLRACE_OPS = table
    await using engine = await Engine.open(model, options)
    expect(engine.stats().device).toBe(device)
  })

  it('"auto" takes the CPU where the device fails at its first step', async () => {
    useLibrary()
    process.env.MILLRACE_LOSE_DEVICE_AFTER = '1' // the weights are there by then
    await using engine = await Engine.open(model, options)
    expect(engine.stats()).toMatchObject({ device: 'cpu', whyNoGpu: 'the device was lost' })
  })

  it('refuses a device that is not there', async () => {
    useLibrary()
    expect(await codeOf(() => Engine.open(model, { ...options, device: 'cuda:7' }))).toBe(
      'not-found',
    )
  })

  it('ends with code out-of-memory where the device refuses memory', async () => {
    const fail = native.failAllocAfter
    if (fail === undefined) throw new Error('Expected a build with tests')
    useLibrary()
    const codes = new Set<string>()
    for (let n = 0, code = ''; code !== 'nothing thrown'; n++) {
      const fresh = await Model.open(writeSmallModel({ type: 'F32' }))
      fail(n)
      code = await codeOf(async () => {
        await using engine = await Engine.open(fresh, { ...options, device: 'cuda' })
        return engine
      })
      fail(-1)
      codes.add(code)
      await fresh.close()
      expect(n).toBeLessThan(50)
    }
    expect(codes).toEqual(new Set(['out-of-memory', 'nothing thrown']))
  })

  it('ends what runs with code device when the device is lost, and stays usable', async () => {
    useLibrary()
    await using other = await Engine.open(model, { ...options, device: 'cpu' })
    process.env.MILLRACE_LOSE_DEVICE_AFTER = '6'
    const engine = await Engine.open(model, { ...options, device: 'cuda' })
    const lost = prompts.map((prompt) => codeOf(() => answer(engine, prompt)))
    expect(await Promise.all(lost)).toEqual(['device', 'device', 'device'])
    expect(engine.stats()).toMatchObject({ state: 'failed', identityHolds: true })
    expect(await codeOf(() => answer(engine, [1]))).toBe('failed')
    await engine.close()
    expect(await answer(other, prompts[0] ?? [])).toHaveLength(5)
    delete process.env.MILLRACE_LOSE_DEVICE_AFTER
    await using again = await Engine.open(model, { ...options, device: 'cuda' })
    expect(await answer(again, prompts[0] ?? [])).toHaveLength(5)
  })
})
