// The JavaScript side of a crossing alone: one packed wake-up of 32 streams, as the binding sends
// it, is handed again and again to the built package's event loop, with a reader for each stream.
// Caches are warm and no thread is woken, so this is the least a step can cost.

type Events = typeof import('../lib/events.js')
type Generations = typeof import('../lib/generation.js')
type Receiver = import('../lib/events.js').Receiver

const nothing = { logprob: () => {}, done: () => {}, fail: () => {} }

const root = new URL('../dist/', import.meta.url)

// A piece of one token and three characters, in the layout that native/binding/events.h states.
const record = (id: number): number[] => [0, id, 3, 1, -1, 1000 + id]
const pieceText = ' ab'

const stepsPerBatch = 200
// Turns of the microtask queue until every reader has asked for its next piece.
const turns = 4

/** CPU microseconds per step, one value per batch of steps; the first batches warm up. */
export const replay = async (streams: number, batches: number): Promise<number[]> => {
  const { connect }: Events = await import(new URL('events.js', root).href)
  const { openGeneration }: Generations = await import(new URL('generation.js', root).href)
  let read = 0
  const receivers = new Map<number, Receiver>()
  for (let id = 1; id <= streams; id++) {
    const { generation, feeds } = openGeneration(1, () => {})
    for (const { piece } of feeds) receivers.set(id, { ...nothing, piece })
    const reader = async () => {
      for await (const piece of generation) read += piece.tokens.length
    }
    reader().catch(() => {})
  }
  const onEvents = connect(receivers)
  const records = Int32Array.from([...receivers.keys()].flatMap(record))
  const text = pieceText.repeat(streams)
  const values: number[] = []
  for (let batch = -batches; batch < batches; batch++) {
    const before = process.cpuUsage()
    for (let step = 0; step < stepsPerBatch; step++) {
      onEvents(records.length, records, new Float64Array(0), text)
      for (let turn = 0; turn < turns; turn++) await undefined
    }
    const { user, system } = process.cpuUsage(before)
    if (batch >= 0) values.push((user + system) / stepsPerBatch)
  }
  const expected = streams * stepsPerBatch * 2 * batches
  if (read !== expected) throw new Error(`Expected ${expected} tokens read but counted ${read}`)
  return values
}
