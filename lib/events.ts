// Decodes the packed events of a wake-up and hands each to its request. native/binding/events.h
// states the records. Nothing here runs an application's code: readers continue as microtasks.

import type { Score } from './engine.js'
import type { Timings, Usage } from './generation.js'
import type { OnEvents } from './native.js'

/** The end of a request: the whole answer, pieces included, and its counts. */
export interface Ended {
  text: string
  tokens: Int32Array
  reason: number
  usage: Usage
  timings: Timings
}

/** One live request's side of the event loop. */
export interface Receiver {
  piece(text: string, tokens: Int32Array, from: number, to: number): void
  logprob(token: number, logprob: number, top: { token: number; logprob: number }[]): void
  done(ended: Ended): void
  fail(code: number, message: string): void
  score?(score: Score): void
}

/** A reader over the arrays of one wake-up. */
class Cursor {
  at = 0
  #number = 0

  constructor(
    readonly records: Int32Array,
    readonly numbers: Float64Array,
  ) {}

  int(): number {
    return this.records[this.at++] as number
  }

  number(): number {
    return this.numbers[this.#number++] as number
  }

  list(): { token: number; logprob: number }[] {
    const n = this.int()
    return Array.from({ length: n }, () => ({ token: this.int(), logprob: this.number() }))
  }

  ended(text: string, tokens: Int32Array): Ended {
    return {
      text,
      tokens,
      reason: this.int(),
      usage: {
        promptTokens: this.int(),
        cachedTokens: this.int(),
        completionTokens: this.int(),
      },
      timings: {
        queueMs: this.number(),
        firstTokenMs: this.number(),
        decodeMs: this.number(),
      },
    }
  }

  score(tokens: Int32Array, hasTop: boolean): Score {
    const logprobs = Float32Array.from(tokens, () => this.number())
    if (!hasTop) return { tokens, logprobs }
    const top = Array.from(tokens, () => {
      const list = this.list()
      return {
        tokens: Int32Array.from(list, (one) => one.token),
        logprobs: Float32Array.from(list, (one) => one.logprob),
      }
    })
    return { tokens, logprobs, top }
  }
}

const [piece, done, error] = [0, 1, 2]

/** The callback of one engine: what it holds is what keeps live generations alive. */
export function connect(live: Map<number, Receiver>): OnEvents {
  return (length, records, numbers, text) => {
    const cursor = new Cursor(records, numbers)
    let unit = 0
    while (cursor.at < length) {
      const kind = cursor.int()
      const id = cursor.int()
      const end = unit + cursor.int()
      const own = text.slice(unit, end)
      unit = end
      const nTokens = cursor.int()
      const hasTop = cursor.int() >= 0
      const from = cursor.at
      cursor.at += nTokens
      const receiver = live.get(id)
      if (kind === piece) {
        if (hasTop) readLogprobs(cursor, receiver, from, nTokens)
        receiver?.piece(own, records, from, from + nTokens)
        continue
      }
      live.delete(id)
      if (kind === error) {
        receiver?.fail(cursor.int(), own)
        continue
      }
      const tokens = records.slice(from, from + nTokens)
      const ended = cursor.ended(own, tokens)
      if (kind === done) receiver?.done(ended)
      else receiver?.score?.(cursor.score(tokens, hasTop))
    }
  }
}

function readLogprobs(cursor: Cursor, receiver: Receiver | undefined, from: number, n: number) {
  for (let i = 0; i < n; i++) {
    const logprob = cursor.number()
    receiver?.logprob(cursor.records[from + i] as number, logprob, cursor.list())
  }
}
