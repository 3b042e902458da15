// The JavaScript side of a crossing alone: one packed delivery to 32 streams, as the binding sends
// it, is handed again and again to the built package's event loop, with a reader for each stream.
// In turn with it, as many bare promises are handed to as many `for await` loops: what the language
// takes to continue readers, whoever feeds them. No thread is woken.
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'

type Events = typeof import('../lib/events.js')
type Generations = typeof import('../lib/generation.js')
type Receiver = import('../lib/events.js').Receiver

/** CPU microseconds of the main thread per step, one value per batch of steps. */
export interface Replay {
  /** All of it, readers included. */
  whole: number[]
  /** The readers alone. */
  readers: number[]
}

const nothing = { logprob: () => {}, done: () => {}, fail: () => {} }

const root = new URL('../dist/', import.meta.url)

// A piece of one token and three characters, in the layout that native/binding/events.h states.
const record = (id: number): number[] => [0, id, 3, 1, -1, 1000 + id]
const pieceText = ' ab'

const stepsPerBatch = 1000 // tokens of an answer: each batch has answers of its own
// Turns of the microtask queue until every reader has asked for its next piece.
const turns = 4

/**
 * CPU time of the main thread alone, as the kernel counts it when a thread is switched out: the
 * short sleep brings it up to date. Other threads of Node (garbage, compilation) are not in it.
 */
export const mainThreadSeconds = async (): Promise<number> => {
  await setTimeout(20)
  const [nanoseconds] = readFileSync('/proc/self/schedstat', 'utf8').split(' ')
  return Number(nanoseconds) / 1e9
}

const microseconds = async (step: () => void): Promise<number> => {
  const before = await mainThreadSeconds()
  for (let i = 0; i < stepsPerBatch; i++) {
    step()
    for (let turn = 0; turn < turns; turn++) await undefined
  }
  return (((await mainThreadSeconds()) - before) * 1e6) / stepsPerBatch
}

let read = 0

const reader = async (pieces: AsyncIterable<{ tokens: Int32Array }>): Promise<void> => {
  for await (const piece of pieces) read += piece.tokens.length
}

/** A step of the product. */
const delivery = async (streams: number): Promise<() => void> => {
  const { connect }: Events = await import(new URL('events.js', root).href)
  const { openGeneration }: Generations = await import(new URL('generation.js', root).href)
  const receivers = new Map<number, Receiver>()
  for (let id = 1; id <= streams; id++) {
    const { generation, feeds } = openGeneration(1, { abort() {}, read() {} })
    for (const { piece } of feeds) receivers.set(id, { ...nothing, piece })
    reader(generation).catch(() => {})
  }
  const onEvents = connect(receivers)
  const records = Int32Array.from([...receivers.keys()].flatMap(record))
  const numbers = new Float64Array(0)
  const text = pieceText.repeat(streams)
  return () => onEvents(records.length, records, numbers, text)
}

/** A step that continues the readers and does nothing else. */
const bare = (streams: number): (() => void) => {
  type Result = IteratorResult<{ tokens: Int32Array }>
  const result: Result = { done: false, value: { tokens: new Int32Array(1) } }
  const waiting: ((result: Result) => void)[] = []
  for (let i = 0; i < streams; i++) {
    const next = () =>
      new Promise<Result>((resolve) => {
        waiting[i] = resolve
      })
    reader({ [Symbol.asyncIterator]: () => ({ next }) }).catch(() => {})
  }
  return () => {
    for (const resolve of waiting) resolve(result)
  }
}

/** The first batches warm up. */
export const replay = async (streams: number, batches: number): Promise<Replay> => {
  const result: Replay = { whole: [], readers: [] }
  for (let batch = -batches; batch < batches; batch++) {
    const whole = await microseconds(await delivery(streams))
    const readers = await microseconds(bare(streams))
    if (batch < 0) continue
    result.whole.push(whole)
    result.readers.push(readers)
  }
  const expected = 2 * streams * stepsPerBatch * 2 * batches
  if (read !== expected) throw new Error(`Expected ${expected} tokens read but counted ${read}`)
  return result
}
