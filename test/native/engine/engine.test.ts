// The whole engine on a small model, through the probe: what callers see in every state.
import { afterEach, describe, expect, test } from 'vitest'
import {
  answerOf,
  answersOf,
  failAllocAfter,
  type LiveEngine,
  type LiveOptions,
  liveEngine,
} from '../../support/live.js'
import { smallVocabulary, writeSmallModel } from '../../support/small-model.js'

const path = writeSmallModel({ architecture: 'llama', type: 'Q8_0' })
const opened: LiveEngine[] = []

function open(options: Partial<LiveOptions> = {}): LiveEngine {
  const engine = liveEngine({ path, threads: 2, cacheTokens: 2048, ...options })
  opened.push(engine)
  return engine
}

afterEach(() => {
  failAllocAfter(-1)
  for (const engine of opened.splice(0)) engine.drop()
})

function tokens(length: number, start = 0): Int32Array {
  return Int32Array.from({ length }, (_, i) => 3 + ((start * 97 + i * 31) % (smallVocabulary - 3)))
}
const endless = { prompt: tokens(8), maxTokens: 900, ignoreEos: true, temperature: 1 }

describe('an answer', () => {
  test('has pieces that make its text, usage and timings', () => {
    const engine = open()
    const answer = answerOf(engine, { ...endless, maxTokens: 40, seed: 4 })
    expect(answer.tokens.length).toBe(40)
    expect(answer.end).toMatchObject({ kind: 'done', reason: 'length' })
    expect(answer.end).toMatchObject({ promptTokens: 8, cachedTokens: 0, completionTokens: 40 })
    expect(answer.end.queueMs).toBeGreaterThanOrEqual(0)
    expect(answer.end.firstTokenMs).toBeGreaterThanOrEqual(answer.end.queueMs)
    expect(answer.end.decodeMs).toBeGreaterThan(0)
  })

  test('comes whole at its end where nobody wants pieces', () => {
    const engine = open()
    const request = { ...endless, maxTokens: 40, seed: 4 }
    const read = answerOf(engine, request)
    expect(engine.submit(2, { ...request, wantsPieces: false })).toBe('')
    expect(engine.wait(1, 30_000)).toBe(true)
    const events = engine.events()
    expect(events.map(({ kind }) => kind)).toEqual(['done'])
    expect(Array.from(events[0]?.tokens ?? [])).toEqual(Array.from(read.tokens))
    expect(events[0]?.text).toBe(read.text)
  })

  test.each([
    ['tokens', endless.prompt],
    ['a text, while it is tokenized', 'One day'],
  ])('of %s has pieces once somebody reads, the first with all until then', (_, prompt) => {
    const engine = open()
    const request = { ...endless, prompt, wantsPieces: false }
    expect(engine.submit(1, request)).toBe('')
    if (typeof prompt !== 'string') {
      for (let i = 0; i < 10_000 && engine.stats().steps < 20; i++) engine.wait(1, 1)
    }
    engine.read(1)
    expect(engine.wait(1, 60_000)).toBe(true)
    const events = engine.events()
    const end = events.at(-1)
    const pieces = events.slice(0, -1)
    if (typeof prompt !== 'string') expect(pieces[0]?.tokens.length).toBeGreaterThanOrEqual(20)
    expect(pieces.length).toBeGreaterThan(1)
    expect(pieces.map(({ text }) => text).join('')).toBe(end?.text)
    expect(pieces.flatMap((piece) => [...piece.tokens])).toEqual([...(end?.tokens ?? [])])
  })

  test('counts its text in UTF-16 units', () => {
    const engine = open()
    expect(engine.submit(1, { ...endless, maxTokens: 200, seed: 9 })).toBe('')
    expect(engine.wait(1, 30_000)).toBe(true)
    for (const { kind, text, textUnits } of engine.events()) {
      if (kind === 'piece') expect(textUnits).toBe(text.length)
    }
  })

  test('comes in fewer, longer pieces where many answers share short steps', () => {
    const engine = open({ maxSequences: 16, cacheTokens: 4096 })
    const ids = Array.from({ length: 16 }, (_, i) => i + 1)
    const request = (id: number) => ({ ...endless, maxTokens: 100, seed: id, logprobs: 1 })
    for (const id of ids) expect(engine.submit(id, request(id))).toBe('')
    expect(engine.wait(16, 60_000)).toBe(true)
    const events = engine.events()
    const pieces = events.filter(({ kind }) => kind === 'piece')
    const answers = answersOf(events)
    for (const id of ids) {
      const answer = answers.get(id)
      const alone = answerOf(engine, request(id), 100 + id)
      const { tokens, text, logprobs, top } = alone
      expect(answer).toMatchObject({ tokens, text, logprobs, top })
      const [first] = pieces.filter((piece) => piece.id === id)
      expect(first?.tokens.length).toBeLessThan(8) // what one character takes, never a pile
    }
    const slowest = Math.max(...[...answers.values()].map(({ end }) => end.decodeMs))
    const stepMs = slowest / 100
    if (stepMs < 2) expect(pieces.length).toBeLessThan(0.8 * 16 * 100)
  })

  test('to a text prompt is that to its tokens', () => {
    const engine = open()
    const pairs = { et: 3 + 256 + 1, ta: 3 + 256 + 18 }
    const request = { maxTokens: 20, temperature: 0, ignoreEos: true }
    const fromTokens = answerOf(engine, {
      ...request,
      prompt: Int32Array.of(1, pairs.et, pairs.ta),
    })
    const fromText = answerOf(engine, { ...request, prompt: 'etta' }, 2)
    expect(fromText.end.promptTokens).toBeGreaterThan(1) // BOS and the text
    expect(fromTokens.tokens.length).toBe(20)
    expect(fromText.tokens.length).toBe(20)
  })

  test('ends before a stop string, which never appears', () => {
    const engine = open()
    const free = answerOf(engine, { ...endless, maxTokens: 300, seed: 12 })
    const letters = [...free.text].filter((letter) => letter >= 'a' && letter <= 'z')
    const stop = `${letters[20] ?? ''}`
    const stopped = answerOf(engine, { ...endless, maxTokens: 300, seed: 12, stop: [stop] }, 2)
    expect(stopped.end.reason).toBe('stop')
    expect(stopped.text).toBe(free.text.slice(0, free.text.indexOf(stop)))
    expect(stopped.tokens).toEqual(free.tokens.slice(0, stopped.tokens.length))
    expect(stopped.end.completionTokens).toBe(stopped.tokens.length)
  })

  test('is the same after a prefix hit, which usage shows', () => {
    const engine = open()
    const request = { prompt: tokens(100, 5), maxTokens: 30, seed: 3, ignoreEos: true }
    const first = answerOf(engine, request)
    const second = answerOf(engine, request, 2)
    expect(second.tokens).toEqual(first.tokens)
    expect([first.end.cachedTokens, second.end.cachedTokens]).toEqual([0, 99])
  })

  test('carries log-probabilities for every token when asked', () => {
    const answer = answerOf(open(), { ...endless, maxTokens: 25, seed: 2, logprobs: 3 })
    expect(answer.logprobs.map(([token]) => token)).toEqual(answer.tokens)
    expect(answer.top.map((list) => list.length)).toEqual(new Array(25).fill(3))
    for (const [i, [, logprob]] of answer.logprobs.entries()) {
      expect(logprob).toBeLessThanOrEqual(answer.top[i]?.[0]?.[1] ?? 0)
    }
  })
})

describe('a score', () => {
  test('agrees with the log-probabilities of greedy generation', () => {
    const engine = open()
    const prompt = tokens(50, 2)
    const greedy = answerOf(engine, {
      prompt,
      maxTokens: 20,
      temperature: 0,
      logprobs: 0,
      ignoreEos: true,
    })
    const text = Int32Array.from([...prompt, ...greedy.tokens])
    const { end } = answerOf(engine, { prompt: text, score: true, top: 2 }, 2)
    expect(end.kind).toBe('score')
    expect(end.scoreLogprobs[0]).toBeNaN()
    expect([...end.tokens]).toEqual([...text])
    expect(end.top.length).toBe(text.length)
    greedy.tokens.forEach((token, i) => {
      expect(end.scoreLogprobs[50 + i]).toBe(greedy.logprobs[i]?.[1])
      expect(end.top[49 + i]?.[0]?.[0]).toBe(token)
    })
  })

  test('gives the whole vocabulary at every position when asked', () => {
    const { end } = answerOf(open(), { prompt: tokens(40), score: true, top: smallVocabulary })
    for (const list of end.top) {
      const sum = list.reduce((total, [, logprob]) => total + Math.exp(logprob), 0)
      expect(sum).toBeCloseTo(1, 4)
      expect(new Set(list.map(([token]) => token)).size).toBe(smallVocabulary)
    }
  })
})

describe('an abort', () => {
  test('ends a running request and gives its pages back', () => {
    const engine = open()
    expect(engine.submit(1, endless)).toBe('')
    expect(engine.waitForTokens(3, 30_000)).toBe(true)
    engine.abort(1)
    expect(engine.wait(1, 30_000)).toBe(true)
    const answer = answersOf(engine.events()).get(1)
    expect(answer?.end.reason).toBe('abort')
    expect(answer?.end.completionTokens).toBe(answer?.tokens.length)
    expect(engine.stats()).toMatchObject({
      pagesHeld: 0,
      running: 0,
      aborted: 1,
      identityHolds: true,
    })
  })

  test('ends requests that wait or are being tokenized, and ignores ids it does not know', () => {
    const engine = open({ maxSequences: 1 })
    engine.abort(99)
    expect(engine.submit(1, endless)).toBe('')
    expect(engine.submit(2, endless)).toBe('')
    expect(engine.submit(3, { prompt: 'eta'.repeat(100_000) })).toBe('')
    for (const id of [3, 2, 1]) engine.abort(id)
    expect(engine.wait(3, 30_000)).toBe(true)
    for (const [, { end }] of answersOf(engine.events())) expect(end.reason).toBe('abort')
    expect(engine.stats()).toMatchObject({ pagesHeld: 0, aborted: 3 })
  })
})

describe('a refusal', () => {
  test('has code overloaded when the places and the queue are full', () => {
    const engine = open({ maxSequences: 1, queueLimit: 2 })
    for (const id of [1, 2, 3]) expect(engine.submit(id, endless)).toBe('')
    expect(engine.submit(4, endless)).toMatch(/^overloaded: .*maxSequences 1 \+ queueLimit 2/)
    expect(engine.stats().rejected).toBe(1)
    engine.abort(2)
    expect(engine.wait(1, 30_000)).toBe(true)
    expect(engine.submit(5, endless)).toBe('')
  })

  test.each<[string, Partial<LiveOptions>, string, RegExp]>([
    ['a device that is not there', { device: 'abacus' }, 'invalid-argument', /"abacus"/],
    ['a cache type that is not there', { cacheType: 'bf16' }, 'unsupported', /f32, f16 or q8_0/],
    [
      'a step smaller than its sequences',
      { maxSequences: 8, stepTokens: 4 },
      'invalid-argument',
      /at least maxSequences 8/,
    ],
    ['a negative number', { threads: -1 }, 'invalid-argument', /"threads"/],
    [
      'a cache beyond memory',
      { cacheTokens: 2 ** 40 },
      'out-of-memory',
      /34359738368 pages \* .* MiB are free/,
    ],
  ])('to open with %s has its code and says why', (_, options, code, message) => {
    const attempt = () => open(options)
    expect(attempt).toThrow(message)
    expect(attempt).toThrow(expect.objectContaining({ code }))
  })

  test('of one request leaves the others alone', () => {
    const engine = open()
    expect(engine.submit(1, { ...endless, maxTokens: 50 })).toBe('')
    expect(engine.submit(2, { prompt: tokens(2000) })).toBe('')
    expect(engine.submit(3, { prompt: '', maxTokens: 1 })).toBe('')
    expect(engine.submit(4, { prompt: tokens(4), stop: [''] })).toBe('')
    expect(engine.wait(4, 30_000)).toBe(true)
    const answers = answersOf(engine.events())
    expect(answers.get(1)?.tokens.length).toBe(50)
    expect(answers.get(2)?.end.code).toBe('too-long')
    expect(answers.get(4)?.end.code).toBe('invalid-argument')
  })
})

describe('a deadline', () => {
  test('ends a request with code deadline and gives its pages back', () => {
    const engine = open()
    expect(engine.submit(1, { ...endless, deadlineMs: 1 })).toBe('')
    expect(engine.wait(1, 30_000)).toBe(true)
    expect(engine.events().at(-1)).toMatchObject({ kind: 'error', code: 'deadline' })
    expect(engine.stats().pagesHeld).toBe(0)
  })

  test('passes too while the prompt, or one before it, is being tokenized', () => {
    const engine = open()
    expect(engine.submit(1, { prompt: 'eta'.repeat(400_000) })).toBe('')
    expect(engine.submit(2, { prompt: 'eta', deadlineMs: 5 })).toBe('')
    expect(engine.wait(2, 60_000)).toBe(true)
    const [first, second] = engine.events()
    expect(first).toMatchObject({ id: 2, kind: 'error', code: 'deadline' })
    expect(second).toMatchObject({ id: 1, kind: 'error', code: 'too-long' })
    expect(engine.stats()).toMatchObject({ waiting: 0, failed: 2 })
  })
})

describe('close', () => {
  test('waits for what runs and waits, then refuses with code closed', () => {
    const engine = open({ maxSequences: 1 })
    for (const id of [1, 2]) expect(engine.submit(id, { ...endless, maxTokens: 30 })).toBe('')
    engine.close()
    const answers = answersOf(engine.events())
    for (const id of [1, 2]) expect(answers.get(id)?.end.reason).toBe('length')
    expect(engine.stats().state).toBe('closed')
    expect(engine.submit(3, endless)).toMatch(/^closed: /)
    engine.abort(1)
    engine.close()
  })

  test('without draining ends live requests with code closed', () => {
    const engine = open({ maxSequences: 1 })
    for (const id of [1, 2]) expect(engine.submit(id, endless)).toBe('')
    expect(engine.submit(3, { prompt: 'eta'.repeat(50_000) })).toBe('')
    expect(engine.waitForTokens(2, 30_000)).toBe(true)
    engine.close(0)
    for (const [, { end }] of answersOf(engine.events())) {
      expect(end).toMatchObject({ kind: 'error', code: 'closed' })
    }
    expect(engine.stats()).toMatchObject({ state: 'closed', pagesHeld: 0, running: 0, waiting: 0 })
  })

  test('drains no longer than it is told', () => {
    const engine = open()
    expect(engine.submit(1, endless)).toBe('')
    engine.close(1)
    expect(answersOf(engine.events()).get(1)?.end.code).toMatch(/closed|ok/)
  })

  test('without waiting calls back once, also when it is closed already', () => {
    const engine = open()
    expect(engine.submit(1, endless)).toBe('')
    engine.closeAsync(0)
    engine.close()
    expect(engine.events().at(-1)).toMatchObject({ code: 'closed' })
    const again = open()
    again.close()
    again.closeAsync(-1)
    expect(again.closed()).toBe(true)
  })

  test('is what dropping the engine does, with live requests too', () => {
    const engine = open()
    expect(engine.submit(1, endless)).toBe('')
    expect(engine.waitForTokens(1, 30_000)).toBe(true)
    engine.drop()
    expect(engine.events().at(-1)).toMatchObject({ kind: 'error', code: 'closed' })
  })
})

describe('several engines', () => {
  test('share one model and answer independently', () => {
    const [one, two] = [open(), open({ cacheType: 'f32' })]
    expect(one.submit(1, { ...endless, maxTokens: 30 })).toBe('')
    expect(two.submit(1, { ...endless, maxTokens: 30 })).toBe('')
    for (const engine of [one, two]) {
      expect(engine.wait(1, 30_000)).toBe(true)
      expect(engine.events().at(-1)?.reason).toBe('length')
      expect(engine.stats().finished).toBe(1)
    }
    one.close()
    expect(answerOf(two, { ...endless, maxTokens: 5 }, 2).tokens.length).toBe(5)
  })
})

describe('memory that is refused', () => {
  test('at any allocation while opening is code out-of-memory, and the next open works', () => {
    for (let n = 0; n < 40; n++) {
      failAllocAfter(n)
      try {
        open().drop()
        failAllocAfter(-1)
        expect(n).toBeGreaterThan(1)
        return
      } catch (error) {
        failAllocAfter(-1)
        expect(error).toMatchObject({ code: 'out-of-memory' })
      }
    }
    throw new Error('Expected open to succeed in the end')
  })

  test('inside a step ends every live request, and the engine says that it failed', () => {
    const engine = open()
    failAllocAfter(0) // the first step wants scratch memory
    expect(engine.submit(1, endless)).toBe('')
    engine.submit(2, endless) // refused only if the engine has failed by now
    expect(engine.wait(1, 30_000)).toBe(true)
    failAllocAfter(-1)
    const answers = answersOf(engine.events())
    for (const [, { end }] of answers) expect(end.code).toBe('out-of-memory')
    expect(answers.has(1)).toBe(true)
    expect(engine.stats()).toMatchObject({ state: 'failed', pagesHeld: 0, running: 0 })
    expect(engine.submit(3, endless)).toMatch(/^failed: .*out-of-memory/)
    engine.close()
    expect(engine.stats().state).toBe('closed')
  })
})

test('an idle engine does nothing', async () => {
  const engine = open()
  answerOf(engine, { ...endless, maxTokens: 3 })
  const { steps } = engine.stats()
  await new Promise((resolve) => setTimeout(resolve, 100)) // workers spin briefly, then park
  const before = process.cpuUsage()
  await new Promise((resolve) => setTimeout(resolve, 400))
  const { user, system } = process.cpuUsage(before)
  expect(engine.stats().steps).toBe(steps)
  expect((user + system) / 1000).toBeLessThan(100)
})
