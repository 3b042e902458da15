// The law of the engine: the same request gives the same tokens, bit for bit, whatever else runs. 64
// requests at once, in a cache that is much too small, some aborted on the way, against the same
// requests one at a time with nothing shared. Tokens and raw log-probabilities must be equal.
import { describe, expect, test } from 'vitest'
import type { ElementType } from '../../bench/gguf-writer.js'
import { answersOf, type LiveRequest, liveEngine, opsTables, withOps } from '../support/live.js'
import { smallVocabulary, writeSmallModel } from '../support/small-model.js'

const nRequests = 64
const nSeeds = Number(process.env.MILLRACE_LAW_SEEDS ?? 20) // fewer where an emulator runs them
const longest = 700

// A generator of its own, so that a seed names one mix of requests on every machine.
function randomOf(seed: number): () => number {
  let state = seed * 2654435761 + 1
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32
  }
}

interface Planned {
  request: LiveRequest
  submitAfter: number // tokens that all requests together have received
  abortAfter?: number
}

// Half of the prompts continue one of three beginnings, so that pages are shared and evicted.
function plan(seed: number): Planned[] {
  const random = randomOf(seed)
  const upTo = (n: number) => Math.floor(random() * n)
  const tokens = (n: number) => Array.from({ length: n }, () => 3 + upTo(smallVocabulary - 3))
  const beginnings = [tokens(40), tokens(150), tokens(330)]
  return Array.from({ length: nRequests }, (_, i) => {
    const length = i === 0 ? longest : Math.max(1, Math.floor(longest ** random()))
    const shared = random() < 0.5 ? (beginnings[upTo(3)] ?? []) : []
    const prompt = [...shared, ...tokens(length)].slice(0, length)
    const isScore = random() < 0.08
    const request: LiveRequest = {
      prompt: Int32Array.from(prompt),
      score: isScore,
      top: isScore ? upTo(3) : 0,
      maxTokens: upTo(Math.min(200, 760 - length)),
      seed: upTo(1 << 30),
      temperature: random() < 0.3 ? 0 : 0.3 + random(),
      topK: random() < 0.3 ? 1 + upTo(50) : 0,
      topP: random() < 0.3 ? 0.5 + random() / 2 : 1,
      minP: random() < 0.2 ? random() / 10 : 0,
      repetitionPenalty: random() < 0.2 ? 1.3 : 1,
      presencePenalty: random() < 0.2 ? 0.5 : 0,
      stop: random() < 0.3 ? ['ee', 'tan', 'o'].slice(0, 1 + upTo(3)) : [],
      ignoreEos: random() < 0.2,
      priority: upTo(3),
      logprobs: random() < 0.3 ? upTo(3) : -1,
    }
    const planned: Planned = { request, submitAfter: random() < 0.5 ? 0 : upTo(500) }
    return random() < 0.15 ? { ...planned, abortAfter: upTo(900) } : planned
  })
}

// Weights, caches and families take turns over the seeds.
const types: ElementType[] = ['F32', 'Q8_0', 'Q4_0', 'F16']
const cacheTypes = ['f16', 'f32', 'q8_0'] as const
const architectures = ['llama', 'qwen3', 'qwen2'] as const
const paths = new Map<string, string>()

function optionsOf(seed: number) {
  const type = types[seed % types.length] ?? 'F32'
  const architecture = architectures[seed % architectures.length] ?? 'llama'
  const layers = process.env.MILLRACE_OPS === 'reference' ? 1 : 2 // slow and obvious: half is enough
  const name = `${architecture} ${type} ${layers}`
  const path = paths.get(name) ?? writeSmallModel({ type, architecture, layers })
  paths.set(name, path)
  return { path, cacheType: cacheTypes[seed % cacheTypes.length] ?? 'f16' }
}

function together(planned: Planned[], seed: number) {
  // 800 tokens of cache for about 64 * 130, and steps and threads that differ from run to run.
  const engine = liveEngine({
    ...optionsOf(seed),
    cacheTokens: 800,
    maxSequences: 3 + (seed % 14),
    stepTokens: 64 + 37 * (seed % 5),
    threads: 1 + (seed % 3),
  })
  planned.forEach(({ request, submitAfter, abortAfter }, id) => {
    if (submitAfter > 0) engine.later(submitAfter, id + 1, request)
    if (abortAfter !== undefined) engine.later(abortAfter, id + 1)
  })
  planned.forEach(({ request, submitAfter }, id) => {
    if (submitAfter === 0) expect(engine.submit(id + 1, request)).toBe('')
  })
  expect(engine.wait(nRequests, 120_000)).toBe(true)
  const answers = answersOf(engine.events())
  const stats = engine.stats()
  engine.close()
  return { answers, stats }
}

function alone(planned: Planned[], seed: number) {
  const engine = liveEngine({ ...optionsOf(seed), cacheTokens: 8192, maxSequences: 1, threads: 2 })
  engine.serial()
  planned.forEach(({ request }, id) => {
    const unshared = { ...request, cacheSalt: String(id) }
    if (id > 0) engine.later(id, id + 1, unshared)
  })
  expect(engine.submit(1, { ...planned[0]?.request, cacheSalt: '0' } as LiveRequest)).toBe('')
  expect(engine.wait(nRequests, 120_000)).toBe(true)
  const answers = answersOf(engine.events())
  expect(engine.stats().cachedTokens).toBe(0)
  engine.close()
  return answers
}

describe.each(opsTables())('on the %s table', (table) => {
  test(`64 concurrent requests get the tokens they get alone, over ${nSeeds} seeds`, () => {
    const happened = { preemptions: 0, evictions: 0, cachedTokens: 0, aborted: 0, stopped: 0 }
    withOps(table, () => {
      for (let seed = 1; seed <= nSeeds; seed++) {
        const planned = plan(seed)
        const { answers, stats } = together(planned, seed)
        expect(stats.ops).toBe(table)
        expect(stats.identityHolds).toBe(true)
        expect(stats.pagesHeld).toBe(0)
        expect(stats.pagesFree + stats.pagesCached).toBe(stats.pagesTotal)
        for (const [id, expected] of alone(planned, seed)) {
          const answer = answers.get(id)
          if (!answer) throw new Error(`Expected an answer to ${id}`)
          const n = answer.tokens.length
          const isAborted = answer.end.reason === 'abort'
          const where = `seed ${seed}, request ${id}`
          if (isAborted) happened.aborted++
          else {
            expect([answer.end.kind, answer.end.reason], where).toEqual([
              expected.end.kind,
              expected.end.reason,
            ])
            expect(answer.text, where).toBe(expected.text)
            expect(n, where).toBe(expected.tokens.length)
            expect(answer.end.scoreLogprobs, where).toEqual(expected.end.scoreLogprobs)
            expect(answer.end.top, where).toEqual(expected.end.top)
          }
          if (answer.end.reason === 'stop') happened.stopped++
          expect(answer.tokens, where).toEqual(expected.tokens.slice(0, n))
          expect(answer.logprobs, where).toEqual(expected.logprobs.slice(0, answer.logprobs.length))
          expect(answer.top, where).toEqual(expected.top.slice(0, answer.top.length))
        }
        happened.preemptions += stats.preemptions
        happened.evictions += stats.evictions
        happened.cachedTokens += stats.cachedTokens
      }
    })
    // The law says something only if what might break it did happen.
    for (const [what, count] of Object.entries(happened))
      expect(count, what).toBeGreaterThan(nSeeds)
  }, 600_000)
})
