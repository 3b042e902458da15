import { describe, expect, test } from 'vitest'
import {
  endOf,
  type FakeRequest,
  fakeAnswer,
  fakeScore,
  type Received,
  receive,
  runOut,
  scheduler,
} from '../../support/scheduler.js'

const vocabSize = 64
const interactive = 0
const normal = 1
const batch = 2

function prompt(length: number, start = 1): Int32Array {
  return Int32Array.from({ length }, (_, i) => (start * 7 + i * 5) % vocabSize)
}

describe('a step', () => {
  test('decodes every running sequence before it prefills', () => {
    const target = scheduler({ stepTokens: 8, maxSequences: 4, maxOutputs: 8 })
    target.add(1, { prompt: prompt(3), maxTokens: 20 }, 0)
    target.add(2, { prompt: prompt(3, 2), maxTokens: 20 }, 0)
    target.schedule(0)
    target.commit(0)
    target.add(3, { prompt: prompt(40, 3), maxTokens: 4, priority: interactive }, 0)
    const spans = target.schedule(0).map((span) => [...span])
    expect(spans).toEqual([
      [1, 3, 1],
      [2, 3, 1],
      [3, 0, 2], // a quarter of the step while others decode
    ])
  })

  test('prefills less beside decodes where rows are slow, so that no stream stands still', () => {
    const rowsBeside = (rowMs: number): number => {
      const target = scheduler({ stepTokens: 512, maxSequences: 4, pages: 1024, context: 1024 })
      target.add(1, { prompt: prompt(400), maxTokens: 20 }, 0)
      target.schedule(0)
      target.commit(400 * rowMs)
      target.add(2, { prompt: prompt(300, 2), maxTokens: 4 }, 400 * rowMs)
      const spans = target.schedule(400 * rowMs)
      expect(spans.map(([id]) => id)).toEqual([1, 2])
      return spans[1]?.[2] ?? 0
    }
    expect(rowsBeside(0)).toBe(128) // a quarter of the step
    expect(rowsBeside(1)).toBe(128)
    expect(rowsBeside(4)).toBe(200 / 4 - 1)
    expect(rowsBeside(100)).toBe(16)
  })

  test('prefills more beside decodes again when rows are fast again', () => {
    const target = scheduler({ stepTokens: 512, maxSequences: 4, pages: 1024, context: 2048 })
    target.add(1, { prompt: prompt(400), maxTokens: 200 }, 0)
    target.schedule(0)
    target.commit(40_000) // 100 ms a row
    target.add(2, { prompt: prompt(1500, 2), maxTokens: 4 }, 40_000)
    const rows: number[] = []
    for (let now = 40_000; rows.length < 12; ) {
      const spans = target.schedule(now)
      const n = spans.reduce((sum, span) => sum + (span[2] ?? 0), 0)
      rows.push(spans[1]?.[2] ?? 0)
      now += n // 1 ms a row
      target.commit(now)
    }
    expect(rows[0]).toBe(16)
    expect(rows.at(-1)).toBe(128)
  })

  test('never has more rows than its budget, nor more sequences than allowed', () => {
    const target = scheduler({ stepTokens: 8, maxSequences: 3, pages: 64 })
    for (let id = 1; id <= 9; id++) target.add(id, { prompt: prompt(id * 3, id), maxTokens: 5 }, 0)
    while (!target.idle()) {
      const spans = target.schedule(0)
      expect(spans.reduce((rows, span) => rows + (span[2] ?? 0), 0)).toBeLessThanOrEqual(8)
      expect(target.counters().running).toBeLessThanOrEqual(3)
      target.commit(0)
    }
  })

  test('prefills by priority, then by arrival', () => {
    const target = scheduler({ stepTokens: 16, maxSequences: 4, pages: 64 })
    target.add(1, { prompt: prompt(30, 1), maxTokens: 1, priority: batch }, 0)
    target.add(2, { prompt: prompt(30, 2), maxTokens: 1, priority: normal }, 1)
    target.add(3, { prompt: prompt(30, 3), maxTokens: 1, priority: interactive }, 2)
    expect(target.schedule(3).map(([id]) => id)).toEqual([3])
    target.commit(3)
    expect(target.schedule(3).map(([id]) => id)).toEqual([3, 2])
  })
})

describe('the prefix cache', () => {
  test('gives a later request the full pages of an earlier one, answers included', () => {
    const target = scheduler({ pages: 32, pageTokens: 4 })
    target.add(1, { prompt: prompt(10), maxTokens: 7, seed: 5 }, 0)
    const first = runOut(target).get(1)?.tokens ?? []
    const conversation = Int32Array.from([...prompt(10), ...first, 1, 2])
    target.add(2, { prompt: conversation, maxTokens: 3, seed: 6 }, 0)
    const end = endOf(runOut(target), 2)
    expect(end.cachedTokens).toBe(16) // 10 + 7 tokens, the last of which was never fed
    expect(end.promptTokens).toBe(19)
  })

  test('copies the positions in which a page begins like a known one', () => {
    const target = scheduler({ stepTokens: 64, pages: 64 })
    target.add(1, { prompt: prompt(10), maxTokens: 3 }, 0)
    runOut(target) // 12 positions in pages of 4: 10 of the prompt, 2 of the answer
    target.add(2, { prompt: prompt(10), maxTokens: 3 }, 0)
    expect(target.schedule(0).map((span) => [...span])).toEqual([[2, 9, 1]])
    target.commit(0)
    const other = prompt(30)
    other.fill(1, 7)
    target.add(3, { prompt: other, maxTokens: 3 }, 0)
    expect(target.schedule(0).map((span) => [...span])).toContainEqual([3, 7, 16])
    target.commit(0)
    const answers = runOut(target)
    expect(endOf(answers, 3).cachedTokens).toBe(7)
    expect(endOf(answers, 2).cachedTokens).toBe(9)
    expect(target.counters().copies).toBe(2)
  })

  test('computes of a conversation only what is new', () => {
    const target = scheduler({ stepTokens: 64, pages: 64 })
    target.add(1, { prompt: prompt(10), maxTokens: 5 }, 0)
    runOut(target)
    const answer = fakeAnswer(prompt(10), 0, 5, vocabSize) // the last one was drawn, not computed
    const next = Int32Array.of(...prompt(10), ...answer, 9, 9, 9)
    target.add(2, { prompt: next, maxTokens: 5 }, 0)
    expect(target.schedule(0).map((span) => [...span])).toEqual([[2, 14, 4]])
    target.commit(0)
    const received = runOut(target)
    expect(received.get(2)?.tokens).toEqual([...fakeAnswer(next, 0, 5, vocabSize)])
    expect(endOf(received, 2).cachedTokens).toBe(14)
  })

  test('copies from the page that a running sequence is filling', () => {
    const target = scheduler({ stepTokens: 64, pages: 64 })
    target.add(1, { prompt: prompt(7), maxTokens: 20 }, 0)
    target.schedule(0)
    target.commit(0)
    for (const id of [2, 3]) target.add(id, { prompt: prompt(7), seed: id, maxTokens: 5 }, 0)
    const spans = target.schedule(0).map((span) => [...span])
    expect(spans).toEqual([
      [1, 7, 1],
      [2, 6, 1],
      [3, 6, 1],
    ])
    target.commit(0)
    const answers = runOut(target)
    for (const id of [2, 3]) {
      expect(answers.get(id)?.tokens).toEqual([...fakeAnswer(prompt(7), id, 5, vocabSize)])
    }
  })

  test('copies nothing from another cache salt', () => {
    const target = scheduler({ stepTokens: 64, pages: 64 })
    target.add(1, { prompt: prompt(3), maxTokens: 20, cacheSalt: 'a' }, 0)
    target.schedule(0)
    target.commit(0)
    target.add(2, { prompt: prompt(3), maxTokens: 2, cacheSalt: 'b' }, 0)
    expect(target.schedule(0).map((span) => [...span])).toContainEqual([2, 0, 3])
  })

  test('shares nothing between cache salts', () => {
    const target = scheduler({ pages: 32 })
    target.add(1, { prompt: prompt(12), maxTokens: 1, cacheSalt: 'a' }, 0)
    runOut(target)
    target.add(2, { prompt: prompt(12), maxTokens: 1, cacheSalt: 'b' }, 0)
    expect(endOf(runOut(target), 2).cachedTokens).toBe(0)
  })

  test('computes a prefix once that two requests in flight have in common', () => {
    const target = scheduler({ pages: 64, pageTokens: 4, stepTokens: 8, maxSequences: 8 })
    const shared = prompt(40)
    for (let id = 1; id <= 4; id++) {
      target.add(id, { prompt: Int32Array.from([...shared, id, id]), maxTokens: 2, seed: id }, 0)
    }
    let rows = 0
    while (!target.idle()) {
      for (const [, , n = 0] of target.schedule(0)) rows += n
      target.commit(0)
    }
    expect(rows).toBe(40 + 4 * 2 + 4) // the prefix, four endings, four decodes
  })

  test('does not let an urgent request wait for one that comes after it', () => {
    const target = scheduler({ pages: 64, stepTokens: 8, maxSequences: 8 })
    target.add(1, { prompt: prompt(60), maxTokens: 1, priority: batch }, 0)
    target.schedule(0)
    target.commit(0)
    target.add(2, { prompt: prompt(60), maxTokens: 1, priority: interactive }, 0)
    target.schedule(0)
    target.commit(0)
    expect(target.schedule(0).map(([id]) => id)).toContain(2)
  })
})

describe('preemption', () => {
  test('takes the sequence that loses least of those that come later', () => {
    // In pages of 4: 2, 1 and 5 at first; then the second, the third and the first want one more each
    // in the following three steps, and two are left.
    const target = scheduler({ pages: 10, pageTokens: 4, stepTokens: 64, maxSequences: 4 })
    target.add(1, { prompt: prompt(6, 1), maxTokens: 9 }, 0)
    target.add(2, { prompt: prompt(4, 2), maxTokens: 9 }, 1)
    target.add(3, { prompt: prompt(19, 3), maxTokens: 9 }, 2)
    const ids: number[][] = []
    for (let step = 0; step < 4; step++) {
      ids.push(target.schedule(3).map(([id = 0]) => id))
      target.commit(3)
    }
    expect(ids).toEqual([
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3],
      [1, 3],
    ])
    expect(target.counters().preemptions).toBe(1)
  })

  test('changes no token', () => {
    const target = scheduler({ pages: 8, pageTokens: 4, stepTokens: 16, maxSequences: 4 })
    for (let id = 1; id <= 4; id++)
      target.add(id, { prompt: prompt(6, id), maxTokens: 16, seed: id }, 0)
    const received = runOut(target)
    expect(target.counters().preemptions).toBeGreaterThan(0)
    for (let id = 1; id <= 4; id++) {
      expect(received.get(id)?.tokens).toEqual([...fakeAnswer(prompt(6, id), id, 16, vocabSize)])
    }
  })
})

describe('an end', () => {
  test('comes at once for maxTokens 0, with reason length and no token', () => {
    const target = scheduler({})
    target.add(1, { prompt: prompt(5), maxTokens: 0 }, 0)
    const [event] = target.events()
    expect(event).toMatchObject({
      kind: 'done',
      reason: 'length',
      promptTokens: 5,
      completionTokens: 0,
    })
    expect(target.idle()).toBe(true)
  })

  test('by a stop token delivers and counts neither that token nor a later one', () => {
    const answer = [...fakeAnswer(prompt(5), 3, 12, vocabSize)]
    const stop = answer[7] ?? 0
    const expected = answer.slice(0, answer.indexOf(stop))
    const target = scheduler({})
    target.add(1, { prompt: prompt(5), maxTokens: 12, seed: 3, stopTokens: Int32Array.of(stop) }, 0)
    const received = runOut(target)
    expect(received.get(1)?.tokens).toEqual(expected)
    expect(endOf(received, 1)).toMatchObject({ reason: 'stop', completionTokens: expected.length })
  })

  test('by the model is ignored when asked', () => {
    const answer = [...fakeAnswer(prompt(5), 3, 12, vocabSize)]
    const end = Int32Array.of(answer[4] ?? 0)
    for (const ignoreEos of [false, true]) {
      const target = scheduler({ endTokens: end })
      target.add(1, { prompt: prompt(5), maxTokens: 12, seed: 3, ignoreEos }, 0)
      const expected = ignoreEos ? answer : answer.slice(0, answer.indexOf(end[0] ?? 0))
      expect(runOut(target).get(1)?.tokens).toEqual(expected)
    }
  })

  test('comes at the context when no maxTokens is given', () => {
    const target = scheduler({ context: 20, pages: 32 })
    target.add(1, { prompt: prompt(5) }, 0)
    const received = runOut(target)
    expect(received.get(1)?.tokens.length).toBe(15)
    expect(endOf(received, 1).reason).toBe('length')
  })

  test('by abort gives the pages back, waiting, running or in the batch that runs', () => {
    const target = scheduler({ maxSequences: 2, pages: 16 })
    for (const id of [1, 2, 3]) target.add(id, { prompt: prompt(9, id), maxTokens: 50 }, 0)
    target.schedule(0)
    target.abort(1, 0) // in the batch
    target.commit(0)
    target.abort(3, 0) // waiting
    target.schedule(0)
    target.commit(0)
    target.abort(2, 0) // running
    const received = new Map<number, Received>()
    receive(received, target.events())
    for (const id of [1, 2, 3]) expect(endOf(received, id).reason).toBe('abort')
    expect(target.idle()).toBe(true)
    expect(target.counters().held).toBe(0)
    expect(target.check()).toBe('')
  })

  test('by deadline has code deadline and says how long it took', () => {
    const target = scheduler({ maxSequences: 1 })
    target.add(1, { prompt: prompt(5), maxTokens: 50, deadlineMs: 50 }, 0)
    target.add(2, { prompt: prompt(5), maxTokens: 50, deadlineMs: 80 }, 0)
    target.schedule(10)
    target.commit(10)
    target.schedule(60)
    target.commit(60)
    target.schedule(90)
    const ends = target.events().filter(({ kind }) => kind === 'error')
    expect(ends.map(({ id, code }) => [id, code])).toEqual([
      [1, 'deadline'],
      [2, 'deadline'],
    ])
    expect(ends[0]?.message).toContain('deadlineMs 50')
    expect(target.counters().held).toBe(0)
  })
})

describe('a request is refused', () => {
  test.each<[string, FakeRequest, string, RegExp]>([
    ['without tokens', { prompt: prompt(0) }, 'invalid-argument', /at least one token/],
    [
      'with a token outside the vocabulary',
      { prompt: Int32Array.of(1, 64) },
      'invalid-argument',
      /token 1 .* 0 to 63 but received 64/,
    ],
    ['with a negative token', { prompt: Int32Array.of(-1) }, 'invalid-argument', /received -1/],
    ['longer than the context', { prompt: prompt(101) }, 'too-long', /context of 100/],
    ['that fills the context', { prompt: prompt(100) }, 'too-long', /100/],
    [
      'whose answer does not fit the context',
      { prompt: prompt(60), maxTokens: 41 },
      'too-long',
      /60 \+ 41 = 101/,
    ],
    [
      'that never fits the cache',
      { prompt: prompt(60), maxTokens: 6 },
      'too-long',
      /cache of 65 .* 60 \+ 6 = 66/,
    ],
    ['whose score does not fit the cache', { prompt: prompt(65), score: true }, 'too-long', /64/],
  ])('%s', (_, request, code, message) => {
    const target = scheduler({ context: 100, pages: 16, pageTokens: 4 })
    target.add(1, request, 0)
    const [event] = target.events()
    expect(event).toMatchObject({ kind: 'error', id: 1, code })
    expect(event?.message).toMatch(message)
    expect(target.idle()).toBe(true)
  })

  test('only if it does not fit: the last token drawn needs no place in the cache', () => {
    const target = scheduler({ context: 100, pages: 16, pageTokens: 4 })
    target.add(1, { prompt: prompt(60), maxTokens: 5 }, 0)
    expect(runOut(target).get(1)?.tokens.length).toBe(5)
  })
})

describe('a score', () => {
  test('has the log-probability of every token given those before it, in chunks and preempted', () => {
    const target = scheduler({ stepTokens: 16, maxOutputs: 5, pages: 16, maxSequences: 4 })
    const texts = [prompt(40, 1), prompt(30, 2), prompt(1, 3)]
    texts.forEach((text, i) => {
      target.add(i + 1, { prompt: text, score: true }, 0)
    })
    const received = runOut(target)
    texts.forEach((text, i) => {
      const end = endOf(received, i + 1)
      expect(end.kind).toBe('score')
      expect(end.scoreLogprobs[0]).toBeNaN()
      expect([...end.tokens]).toEqual([...text])
      expect(end.scoreLogprobs.slice(1)).toEqual(fakeScore(text).slice(1))
    })
  })
})
