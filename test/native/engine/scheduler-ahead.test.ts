import { describe, expect, test } from 'vitest'
import {
  endOf,
  type FakeRequest,
  fakeAnswer,
  receive,
  type Scheduler,
  type SchedulerOptions,
  scheduler,
} from '../../support/scheduler.js'

const vocabSize = 64
const prompt = (length: number, start = 1): Int32Array =>
  Int32Array.from({ length }, (_, i) => (start * 7 + i * 5) % vocabSize)
const list = (spans: Int32Array[] | null): number[][] | undefined => spans?.map((span) => [...span])

// Two answers whose prompts of 3 and 4 tokens are computed, and the step after that is scheduled.
function underWay(options: SchedulerOptions = {}, more: Partial<FakeRequest> = {}): Scheduler {
  const target = scheduler({ vocabSize, stepTokens: 16, ...options })
  target.add(1, { prompt: prompt(3), maxTokens: 9 }, 0)
  target.add(2, { prompt: prompt(4, 2), maxTokens: 4, ...more }, 0)
  target.schedule(0)
  expect(target.scheduleAhead(0)).toBeNull() // the prompts are longer than a token
  target.commit(0)
  target.schedule(0)
  return target
}

describe('a step that is scheduled ahead', () => {
  test('has every answer one token further, once', () => {
    const target = underWay()
    expect(list(target.scheduleAhead(0))).toEqual([
      [1, 4, 1],
      [2, 5, 1],
    ])
    expect(target.scheduleAhead(0)).toBeNull()
    target.commit(0)
    expect(target.hasScheduled()).toBe(true)
    expect(list(target.scheduleAhead(0))).toEqual([
      [1, 5, 1],
      [2, 6, 1],
    ])
    target.commit(0)
  })

  test('leaves out whose last token is drawn before', () => {
    const target = underWay()
    for (let i = 0; i < 2; i++) {
      target.scheduleAhead(0)
      target.commit(0)
    }
    // The second answer has three tokens, and its fourth and last is being drawn.
    expect(list(target.scheduleAhead(0))).toEqual([[1, 6, 1]])
    target.commit(0)
    expect(target.events().at(-1)).toMatchObject({ kind: 'done', id: 2, completionTokens: 4 })
    expect(target.counters()).toMatchObject({ running: 1, steps: 5 })
  })

  test('is computed to no end where an answer ended before, whose pages are given back', () => {
    const stop = fakeAnswer(prompt(4, 2), 0, 2, vocabSize)[1] as number
    const target = underWay({}, { stopTokens: Int32Array.of(stop) })
    expect(list(target.scheduleAhead(0))).toHaveLength(2)
    target.commit(0)
    const events = target.events()
    expect(endOf(receiveAll(events), 2)).toMatchObject({ reason: 'stop', completionTokens: 1 })
    expect(target.counters().running).toBe(1)
    expect(target.check()).toBe('')
    target.add(3, { prompt: prompt(9, 3), maxTokens: 1 }, 0) // takes the pages
    target.commit(0)
    expect(target.check()).toBe('')
  })

  test('leaves out who was stopped, and ends it with the step that runs', () => {
    const target = underWay()
    target.abort(2, 0)
    expect(list(target.scheduleAhead(0))).toEqual([[1, 4, 1]])
    target.abort(1, 0)
    target.commit(0)
    const ends = receiveAll(target.events())
    for (const id of [1, 2]) expect(endOf(ends, id).reason).toBe('abort')
    expect(target.idle()).toBe(true)
    expect(target.hasScheduled()).toBe(true)
    expect(target.scheduleAhead(0)).toBeNull()
    target.commit(0)
    expect(target.hasScheduled()).toBe(false)
    expect(target.counters().held).toBe(0)
  })
})

describe('no step is scheduled ahead', () => {
  test('of penalties, which look at what was drawn', () => {
    expect(underWay({}, { repetitionPenalty: 1.1 }).scheduleAhead(0)).toBeNull()
  })

  test('where a deadline has passed', () => {
    const target = underWay({}, { deadlineMs: 10 })
    expect(target.scheduleAhead(11)).toBeNull()
    expect(target.scheduleAhead(10)).not.toBeNull()
  })

  test('where pages are missing', () => {
    expect(underWay({ pages: 3 }).scheduleAhead(0)).toBeNull()
    expect(underWay({ pages: 4 }).scheduleAhead(0)).not.toBeNull()
  })

  test('before a prompt is computed', () => {
    const target = scheduler({ vocabSize, stepTokens: 8 })
    target.add(1, { prompt: prompt(3), maxTokens: 9 }, 0)
    target.schedule(0)
    target.commit(0)
    target.add(2, { prompt: prompt(5, 2), maxTokens: 9 }, 0)
    expect(list(target.schedule(0))).toEqual([
      [1, 3, 1],
      [2, 0, 2],
    ])
    expect(target.scheduleAhead(0)).toBeNull()
  })

  test('past somebody who may be admitted, but where there is no room', () => {
    const target = underWay()
    target.add(3, { prompt: prompt(3, 3), maxTokens: 1 }, 0)
    expect(target.scheduleAhead(0)).toBeNull()
    const full = underWay({ maxSequences: 2 })
    full.add(3, { prompt: prompt(3, 3), maxTokens: 1 }, 0)
    expect(full.scheduleAhead(0)).toBeNull() // it is not known yet that there is none
    full.commit(0)
    full.schedule(0)
    expect(full.scheduleAhead(0)).not.toBeNull()
  })

  test('past somebody who waits for a page that the step computes', () => {
    const target = scheduler({ vocabSize, stepTokens: 7, pageTokens: 4 })
    target.add(1, { prompt: prompt(8), maxTokens: 4 }, 0)
    target.schedule(0)
    target.commit(0)
    target.add(2, { prompt: prompt(9), maxTokens: 1 }, 0)
    expect(list(target.schedule(0))).toEqual([[1, 7, 1]])
    expect(target.scheduleAhead(0)).toBeNull()
    target.commit(0)
    expect(list(target.schedule(0))).toEqual([
      [1, 8, 1],
      [2, 8, 1],
    ])
  })
})

function receiveAll(events: ReturnType<Scheduler['events']>) {
  const received = new Map()
  receive(received, events)
  return received
}
