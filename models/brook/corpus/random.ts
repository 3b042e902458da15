// A seeded generator and the draws that corpus code makes from it. The same seed gives the same
// corpus on every machine.

/** A 32-bit hash of a text (FNV-1a with a final mix). */
export function hash(text: string): number {
  let state = 0x811c9dc5
  for (const unit of Buffer.from(text)) state = Math.imul(state ^ unit, 0x01000193)
  state = Math.imul(state ^ (state >>> 16), 0x7feb352d)
  state = Math.imul(state ^ (state >>> 15), 0x846ca68b)
  return (state ^ (state >>> 16)) >>> 0
}

export class Random {
  #state: number

  constructor(seed: string) {
    this.#state = hash(seed)
  }

  /** 0 <= number < 1 (mulberry32). */
  number(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** first <= integer <= last */
  integer(first: number, last: number): number {
    return first + Math.floor(this.number() * (last - first + 1))
  }

  chance(probability: number): boolean {
    return this.number() < probability
  }

  pick<T>(from: readonly T[]): T {
    const value = from[this.integer(0, from.length - 1)]
    if (value === undefined) throw new Error('Expected something to pick from')
    return value
  }

  /** n different ones, in random order. */
  some<T>(from: readonly T[], n: number): T[] {
    return this.shuffled(from).slice(0, n)
  }

  shuffled<T>(items: readonly T[]): T[] {
    const out = [...items]
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.integer(0, i)
      const held = out[i] as T
      out[i] = out[j] as T
      out[j] = held
    }
    return out
  }
}
