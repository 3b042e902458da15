// Meaning as a test: what the built-in model answers, per task, in several element types, alone and
// in a batch, with and without what the prefix cache holds.

import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Mix } from '../../bench/model-shapes.js'
import { builtinPath } from '../../lib/builtin.js'
import { Engine } from '../../lib/index.js'
import type { Task } from '../../models/brook/corpus/sample.js'
import { evaluate, perplexity, type Scores, samplesOf } from '../../models/brook/evaluate.js'
import { converted } from '../../models/brook/export.js'
import { keptPath } from '../support/shared.js'

const perTask = 200
const perplexitySamples = 1600 // by 400 the splits differ by chance
const samples = samplesOf('heldout', perTask)

/** The weights of the shipped file, decoded and encoded again. */
function pathOf(mix: Mix): string {
  const brook = builtinPath('builtin:brook')
  if (mix === 'Q8_0') return brook
  return keptPath(`brook.${mix}.gguf`, converted(readFileSync(brook), mix))
}

const open = (mix: Mix, maxSequences: number): Promise<Engine> =>
  Engine.open(pathOf(mix), { threads: 2, maxSequences, queueLimit: perplexitySamples })

const shareOf = (scores: Scores, task: Task): number => {
  const { right, of } = scores[task] ?? { right: 0, of: 0 }
  return right / of
}

// What its card promises.
const least: [Task, number][] = [
  ['passage', 0.95],
  ['record', 0.95],
  ['tool', 0.95],
  ['sum', 0.9],
  ['list', 0.9],
  ['story', 0.9],
]

const known = new Map<Mix, Scores>()

async function scored(mix: Mix): Promise<Scores> {
  const before = known.get(mix)
  if (before !== undefined) return before
  await using engine = await open(mix, 16)
  const scores = await evaluate(engine, samples)
  known.set(mix, scores)
  return scores
}

describe.each<Mix>(['F32', 'Q8_0'])('Brook in %s', (mix) => {
  let scores: Scores
  beforeAll(async () => {
    scores = await scored(mix)
  }, 180_000)

  it.each(least)('is right on unseen samples of the task %s', (task, share) => {
    expect(shareOf(scores, task)).toBeGreaterThanOrEqual(share)
  })
})

describe.each<[Mix, number]>([
  ['Q4_K', 0.02],
  ['Q4_0', 0.03],
])('Brook in %s', (mix, most) => {
  let [scores, expected]: Scores[] = []
  beforeAll(async () => {
    scores = await scored(mix)
    expected = await scored('F32')
  }, 360_000)

  it.each(least)(`loses at most ${most} on the task %s`, (task) => {
    const [share, of] = [scores, expected].map((all) => shareOf(all ?? {}, task))
    expect(share).toBeGreaterThanOrEqual((of ?? 1) - most)
  })
})

describe('Brook', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await open('Q8_0', 16)
  })
  afterAll(() => engine.close())

  it('answers the same alone, among 15 others, and from the prefix cache', async () => {
    const few = samples.filter((_, i) => i % 17 === 0)
    const answers = async (from: Engine) => {
      const given = new Map<string, string>()
      await evaluate(from, few, (sample, answer) => given.set(JSON.stringify(sample), answer))
      return given
    }
    await using alone = await open('Q8_0', 1)
    const expected = await answers(alone)
    expect(expected.size).toBeGreaterThan(few.length / 2)
    expect(await answers(engine)).toEqual(expected)
    const before = engine.stats().cachedTokens
    expect(await answers(engine)).toEqual(expected)
    expect(engine.stats().cachedTokens).toBeGreaterThan(before)
  }, 120_000)

  it('finds other texts of the same kind as likely as those it was tuned on', async () => {
    const [valid, test] = [
      await perplexity(engine, 'valid', perplexitySamples),
      await perplexity(engine, 'test', perplexitySamples),
    ]
    expect(Math.abs(test / valid - 1)).toBeLessThan(0.05)
  }, 60_000)

  it('remembers what earlier turns said', async () => {
    const messages = [
      { role: 'user' as const, content: 'My name is Mia.' },
      { role: 'assistant' as const, content: 'Nice to meet you, Mia!' },
      { role: 'user' as const, content: 'What is my name?' },
    ]
    expect(await engine.generate({ messages, temperature: 0 }).text()).toBe('Your name is Mia.')
  })
})
