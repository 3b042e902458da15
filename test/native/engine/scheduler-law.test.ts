import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  endOf,
  fakeAnswer,
  fakeScore,
  type Received,
  receive,
  scheduler,
} from '../../support/scheduler.js'

const vocabSize = 64

function prompt(length: number, start: number, fork: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => (start * 7 + i * 5 + (i < fork ? 0 : 1)) % vocabSize)
}

// The law: whatever else runs, is aborted, evicted or preempted, a request's tokens are those it gets
// alone. The fake model reads its state through the pages, so a wrong page is a wrong token.
const request = fc.record({
  length: fc.integer({ min: 1, max: 40 }),
  start: fc.nat(3), // few beginnings, so that prefixes are shared
  fork: fc.nat(40), // anywhere in a page
  maxTokens: fc.integer({ min: 0, max: 24 }),
  seed: fc.nat(3),
  priority: fc.nat(2),
  score: fc.boolean(),
  salt: fc.constantFrom('', '', 'salt'),
  arrival: fc.nat(12),
  abortAt: fc.option(fc.nat(40), { freq: 4 }),
  abortInBatch: fc.boolean(),
  stop: fc.option(fc.nat(vocabSize - 1)),
})
const schedule = fc.record({
  requests: fc.array(request, { minLength: 4, maxLength: 24 }),
  pages: fc.integer({ min: 16, max: 26 }), // 64 tokens is the longest request
  maxSequences: fc.integer({ min: 1, max: 8 }),
  stepTokens: fc.integer({ min: 8, max: 48 }),
  spareOutputs: fc.nat(6),
  goesAhead: fc.boolean(),
})

test('any schedule gives everybody the tokens of a run alone and ends with every page accounted for', () => {
  let preemptions = 0
  let evictions = 0
  let cachedTokens = 0
  let aborts = 0
  let copies = 0
  let stepsAhead = 0
  let endsWhileAhead = 0
  fc.assert(
    fc.property(schedule, (given) => {
      const { requests, pages, maxSequences, stepTokens, spareOutputs, goesAhead } = given
      const target = scheduler({
        pages,
        pageTokens: 4,
        maxSequences,
        stepTokens,
        maxOutputs: Math.min(stepTokens, maxSequences + spareOutputs),
        vocabSize,
      })
      const received = new Map<number, Received>()
      for (let step = 0; step < 41 || !target.idle() || target.hasScheduled(); step++) {
        if (step > 20_000) throw new Error('Expected every request to end')
        requests.forEach((one, id) => {
          const { arrival, length, start, fork, salt, stop, ...rest } = one
          const added = {
            ...rest,
            prompt: prompt(length, start, fork),
            cacheSalt: salt,
            stopTokens: stop === null ? undefined : Int32Array.of(stop),
            deadlineMs: 0,
          }
          if (arrival === step) target.add(id, added, step)
          if (one.abortAt === step && !one.abortInBatch) target.abort(id, step)
        })
        const wasIdle = target.idle()
        if (!target.hasScheduled()) expect(target.schedule(step).length === 0).toBe(wasIdle)
        requests.forEach((one, id) => {
          if (one.abortAt === step && one.abortInBatch) target.abort(id, step)
        })
        const ahead = goesAhead ? target.scheduleAhead(step) : null
        if (ahead) stepsAhead++
        if (target.hasScheduled()) target.commit(step)
        expect(target.check()).toBe('')
        const events = target.events()
        receive(received, events)
        const ended = events.filter(({ kind }) => kind !== 'piece').map(({ id }) => id)
        endsWhileAhead += ahead?.filter(([id]) => ended.includes(id as number)).length ?? 0
      }
      requests.forEach((one, id) => {
        const tokens = received.get(id)?.tokens ?? []
        const end = endOf(received, id)
        const text = prompt(one.length, one.start, one.fork)
        if (end.reason === 'abort') aborts++
        if (one.score && end.kind === 'score') {
          expect(end.scoreLogprobs.slice(1)).toEqual(fakeScore(text).slice(1))
          return
        }
        const endless = [...fakeAnswer(text, one.seed, one.maxTokens, vocabSize)]
        const alone = endless.slice(0, [...endless, one.stop].indexOf(one.stop))
        expect(tokens).toEqual(end.reason === 'abort' ? alone.slice(0, tokens.length) : alone)
        expect(end.completionTokens).toBe(tokens.length)
      })
      const counters = target.counters()
      expect(counters.held).toBe(0)
      expect(counters.free + counters.cached).toBe(pages)
      preemptions += counters.preemptions
      evictions += counters.evictions
      cachedTokens += counters.cachedTokens
      copies += counters.copies
    }),
    { numRuns: 300 },
  )
  // The law is worth something only if what might break it did happen.
  for (const count of [
    preemptions,
    evictions,
    cachedTokens,
    aborts,
    copies,
    stepsAhead,
    endsWhileAhead,
  ])
    expect(count).toBeGreaterThan(20)
})
