// What Node takes to be woken and to continue readers, whoever wakes it: beside an engine whose
// answers are only awaited, a worker that sleeps in the kernel wakes the main thread again and again
// through `Atomics.waitAsync`, and each time as many bare promises are handed to as many `for await`
// loops. It is the denominator of a crossing: the same processors, the same cold caches, the same
// start and end of the requests in both.
import { Worker } from 'node:worker_threads'

const [woken, period] = [0, 1] // of the shared words; a period of 0 ms rests, a negative one ends

const waker = `
const { workerData: words } = require('node:worker_threads')
for (;;) {
  const every = Atomics.load(words, ${period})
  if (every < 0) break
  const changed = Atomics.wait(words, ${period}, every, every === 0 ? Infinity : every) !== 'timed-out'
  if (changed || every === 0) continue
  Atomics.add(words, ${woken}, 1)
  Atomics.notify(words, ${woken})
}
`

interface Piece {
  tokens: Int32Array
}

// TypeScript's library of ES2022 does not have it; Node has had it since 16.
interface Waiting {
  value: Promise<string> | string
}
const { waitAsync } = Atomics as unknown as {
  waitAsync(words: Int32Array, index: number, expected: number): Waiting
}

export class Floor {
  readonly #words = new Int32Array(new SharedArrayBuffer(8))
  readonly #worker = new Worker(waker, { eval: true, workerData: this.#words })
  readonly #waiting: ((result: IteratorResult<Piece>) => void)[] = []
  #isRunning = false
  #ticks = 0
  #read = 0

  constructor(readers: number) {
    for (let i = 0; i < readers; i++) {
      const next = () =>
        new Promise<IteratorResult<Piece>>((resolve) => {
          this.#waiting[i] = resolve
        })
      this.#reader({ [Symbol.asyncIterator]: () => ({ next }) }).catch(() => {})
    }
  }

  /** From now on the thread is woken every so many milliseconds, 1 at least. */
  start(everyMs: number): void {
    this.#isRunning = true
    this.#ticks = 0
    this.#continue().catch(() => {})
    this.#setPeriod(Math.max(1, Math.round(everyMs)))
  }

  /** How often it has been woken since start(). */
  stop(): number {
    this.#isRunning = false
    this.#setPeriod(0)
    Atomics.add(this.#words, woken, 1)
    Atomics.notify(this.#words, woken)
    return this.#ticks
  }

  async close(): Promise<void> {
    this.#setPeriod(-1)
    await this.#worker.terminate()
  }

  #setPeriod(value: number): void {
    Atomics.store(this.#words, period, value)
    Atomics.notify(this.#words, period)
  }

  async #continue(): Promise<void> {
    for (;;) {
      await waitAsync(this.#words, woken, Atomics.load(this.#words, woken)).value
      if (!this.#isRunning) return
      this.#ticks++
      for (const resolve of this.#waiting) {
        resolve({ done: false, value: { tokens: new Int32Array(1) } })
      }
    }
  }

  async #reader(pieces: AsyncIterable<Piece>): Promise<void> {
    for await (const { tokens } of pieces) this.#read += tokens.length
  }
}
