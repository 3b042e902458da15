import { describe, expect, it } from 'vitest'
import {
  type AttentionCall,
  at,
  normals,
  ops,
  type Sequence,
  sameBits,
  tables,
  unit,
} from '../../support/ops.js'

type Shape = Pick<AttentionCall, 'heads' | 'kvHeads' | 'headDim'>
type Settings = Partial<AttentionCall> & Shape & Pick<AttentionCall, 'cacheType'>

const cacheTypes = ['F32', 'F16', 'Q8_0'] as const

function sequence(seed: number, length: number, shape: Shape): Sequence {
  const kv = length * shape.kvHeads * shape.headDim
  const q = length * shape.heads * shape.headDim
  return {
    q: normals(seed, q),
    k: normals(seed + 1, kv),
    v: normals(seed + 2, kv),
    out: new Float32Array(q),
  }
}

const lengthOf = (s: Sequence, shape: Shape): number => s.q.length / shape.heads / shape.headDim

/** Steps that feed one sequence in chunks. */
const chunks = (length: number, size: number, index = 0): Int32Array[] =>
  Array.from({ length: Math.ceil(length / size) }, (_, i) =>
    Int32Array.of(index, i * size, Math.min(size, length - i * size)),
  )

function run(table: string, settings: Settings, sequences: Sequence[], steps: Int32Array[]): void {
  ops.opsAttention({ table, scale: settings.headDim ** -0.5, ...settings, sequences, steps })
}

/** What a table keeps of rows of keys or values. */
function cached(values: Float32Array, settings: Settings): Float32Array {
  const type = settings.cacheType
  return ops.decodeRow(type, ops.encodeRow(type, values), values.length)
}

interface Truth {
  out: Float64Array
  bound: Float64Array
}

/**
 * Outputs in float64, and for each a bound on the error of any order of f32 sums: scores err by
 * (dim + 4) units of their absolute products, which becomes a relative error of each weight; sums
 * and the exponential add a few units per position.
 */
function exact(s: Sequence, settings: Settings): Truth {
  const { heads, kvHeads, headDim: dim } = settings
  const [window, cap] = [settings.window ?? 0, settings.softCap ?? 0]
  const scale = Math.fround(settings.scale ?? dim ** -0.5)
  const [k, v] = [cached(s.k, settings), cached(s.v, settings)]
  const out = new Float64Array(s.q.length)
  const bound = new Float64Array(s.q.length)
  for (let p = 0; p < lengthOf(s, settings); p++) {
    const first = window > 0 ? Math.max(0, p - window + 1) : 0
    for (let head = 0; head < heads; head++) {
      const kvHead = Math.floor(head / (heads / kvHeads))
      const base = (p * heads + head) * dim
      const scores: number[] = []
      let error = 0
      for (let j = first; j <= p; j++) {
        let [sum, size] = [0, 0]
        for (let d = 0; d < dim; d++) {
          const product = at(s.q, base + d) * at(k, (j * kvHeads + kvHead) * dim + d) * scale
          sum += product
          size += Math.abs(product)
        }
        scores.push(cap > 0 ? cap * Math.tanh(sum / cap) : sum)
        error = Math.max(error, (dim + 4) * unit * size + (cap > 0 ? 8 * unit * cap : 0))
      }
      const max = Math.max(...scores)
      const weights = scores.map((score) => Math.exp(score - max))
      const total = weights.reduce((a, b) => a + b, 0)
      const relative = 2 * error + (p - first + 40) * unit
      for (let d = 0; d < dim; d++) {
        let [sum, size] = [0, 0]
        weights.forEach((weight, j) => {
          const term = (weight / total) * at(v, ((first + j) * kvHeads + kvHead) * dim + d)
          sum += term
          size += Math.abs(term)
        })
        out[base + d] = sum
        bound[base + d] = relative * size + 1e-30
      }
    }
  }
  return { out, bound }
}

// The same for every table, so computed once.
const truths = new Map<string, Truth>()

/** Largest error over its bound. */
function worstError(s: Sequence, settings: Settings): number {
  const name = JSON.stringify([settings, s.q.length])
  const truth = truths.get(name) ?? exact(s, settings)
  truths.set(name, truth)
  let most = 0
  for (let i = 0; i < s.out.length; i++) {
    const ratio = Math.abs(at(s.out, i) - at(truth.out, i)) / at(truth.bound, i)
    if (!(ratio <= most)) most = Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio
  }
  return most
}

const shapes: { name: string; settings: Shape & Partial<AttentionCall>; length: number }[] = [
  { name: 'one head of 8', settings: { heads: 1, kvHeads: 1, headDim: 8 }, length: 5 },
  { name: 'heads of 20, groups of 3', settings: { heads: 6, kvHeads: 2, headDim: 20 }, length: 70 },
  {
    name: 'heads of 64, pages of 64',
    settings: { heads: 4, kvHeads: 4, headDim: 64, pageTokens: 64 },
    length: 130,
  },
  {
    name: 'heads of 128, groups of 7',
    settings: { heads: 7, kvHeads: 1, headDim: 128, pageTokens: 32 },
    length: 90,
  },
  {
    name: 'a window of 9',
    settings: { heads: 2, kvHeads: 1, headDim: 32, window: 9 },
    length: 300,
  },
  {
    name: 'a window of 270',
    settings: { heads: 1, kvHeads: 1, headDim: 32, window: 270 },
    length: 400,
  },
  {
    name: 'a soft cap of 2',
    settings: { heads: 2, kvHeads: 2, headDim: 32, softCap: 2 },
    length: 40,
  },
  {
    name: 'the second of three layers',
    settings: { heads: 2, kvHeads: 2, headDim: 32, layers: 3, layer: 1 },
    length: 33,
  },
]

describe.each(tables)('attention on the %s table', (table) => {
  for (const cacheType of cacheTypes) {
    it.each(shapes.filter((s) => cacheType !== 'Q8_0' || s.settings.headDim % 32 === 0))(
      `agrees with float64 over a ${cacheType} cache: $name`,
      ({ settings, length }) => {
        const s = sequence(length, length, settings)
        const all = { ...settings, cacheType }
        run(table, all, [s], chunks(length, length))
        expect(worstError(s, all)).toBeLessThan(1)
      },
    )
  }
})

// The promise: the same request gives the same bits alone, batched, chunked or on other threads.
describe.each(tables)('the bits of attention on the %s table', (table) => {
  const shape = { heads: 4, kvHeads: 2, headDim: 64 }
  const length = 300

  describe.each(cacheTypes)('over a %s cache', (cacheType) => {
    const settings: Settings = { ...shape, cacheType }
    const whole = sequence(1, length, shape)
    run(table, settings, [whole], chunks(length, length))

    it.each([1, 7, 64, 299])('do not depend on chunks of %i', (size) => {
      const s = sequence(1, length, shape)
      run(table, settings, [s], chunks(length, size))
      expect(sameBits(s.out, whole.out)).toBe(true)
    })

    it.each([2, 3, 5])('do not depend on %i threads', (threads) => {
      for (const size of [1, 300]) {
        const s = sequence(1, length, shape)
        run(table, { ...settings, threads }, [s], chunks(length, size))
        expect(sameBits(s.out, whole.out)).toBe(true)
      }
    })

    it('do not depend on the other sequences of the batch', () => {
      const lengths = [40, length, 9, 700]
      const sequences = lengths.map((n, i) => sequence(i === 1 ? 1 : 50 + i, n, shape))
      const steps = [13, 100, 300, 701].map((end, i, ends) => {
        const begin = i === 0 ? 0 : at(ends, i - 1)
        return Int32Array.from(
          lengths.flatMap((n, index) => {
            const rows = Math.min(n, end) - Math.min(n, begin)
            return rows > 0 ? [index, begin, rows] : []
          }),
        )
      })
      run(table, { ...settings, threads: 2 }, sequences, steps)
      expect(sameBits((sequences[1] as Sequence).out, whole.out)).toBe(true)
    })

    it('do not depend on what the unused rest of a page holds', () => {
      const s = sequence(1, length, shape)
      run(table, { ...settings, fill: 255 }, [s], chunks(length, 50))
      expect(sameBits(s.out, whole.out)).toBe(true)
    })

    it('do not depend on the page size', () => {
      const s = sequence(1, length, shape)
      run(table, { ...settings, pageTokens: 128 }, [s], chunks(length, 50))
      expect(sameBits(s.out, whole.out)).toBe(true)
    })

    it('do not depend on the chunk under a window', () => {
      const [a, b] = [sequence(1, length, shape), sequence(1, length, shape)]
      run(table, { ...settings, window: 37 }, [a], chunks(length, 300))
      run(table, { ...settings, window: 37, threads: 2 }, [b], chunks(length, 11))
      expect(sameBits(a.out, b.out)).toBe(true)
    })
  })

  it('are the same for one long decode split among threads', () => {
    const settings: Settings = { heads: 2, kvHeads: 1, headDim: 64, cacheType: 'F16' }
    const outs = [1, 2, 8].map((threads) => {
      const s = sequence(9, 1100, settings)
      run(
        table,
        { ...settings, threads },
        [s],
        [Int32Array.of(0, 0, 1099), Int32Array.of(0, 1099, 1)],
      )
      return s.out
    })
    expect(sameBits(outs[1] as Float32Array, outs[0] as Float32Array)).toBe(true)
    expect(sameBits(outs[2] as Float32Array, outs[0] as Float32Array)).toBe(true)
  })
})

describe.each(tables)('the cache on the %s table', (table) => {
  it('saturates values that F16 cannot hold, so that later tokens stay finite', () => {
    const settings: Settings = { heads: 1, kvHeads: 1, headDim: 16, cacheType: 'F16' }
    const s = sequence(3, 4, settings)
    s.v[0] = 1e6
    s.k[1] = -1e6
    run(table, settings, [s], chunks(4, 4))
    expect(s.out.every(Number.isFinite)).toBe(true)
    expect(at(s.out, 0)).toBe(65504)
  })
})
