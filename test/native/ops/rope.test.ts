import { describe, expect, it } from 'vitest'
import { at, normals, ops, sameBits, tables, worst } from '../../support/ops.js'

interface Case {
  n: number
  heads: number
  headDim: number
  rotary: number
  adjacent: number
}

const cases: Case[] = [
  { n: 1, heads: 1, headDim: 2, rotary: 2, adjacent: 0 },
  { n: 4, heads: 3, headDim: 8, rotary: 8, adjacent: 1 },
  { n: 4, heads: 3, headDim: 8, rotary: 4, adjacent: 0 },
  { n: 5, heads: 2, headDim: 80, rotary: 40, adjacent: 1 },
  { n: 9, heads: 4, headDim: 128, rotary: 128, adjacent: 0 },
  { n: 9, heads: 4, headDim: 128, rotary: 128, adjacent: 1 },
  { n: 2, heads: 2, headDim: 96, rotary: 72, adjacent: 0 },
]
const places = [0, 1, 2, 3, 100, 2047, 32767, 131071, 999983]
const magnitude = 1.25

const frequencies = (rotary: number): Float32Array =>
  Float32Array.from({ length: rotary / 2 }, (_, i) => 10000 ** ((-2 * i) / rotary))

function run(table: string, c: Case, threads = 1): Float32Array {
  const x = normals(5, c.n * c.heads * c.headDim)
  const positions = Int32Array.from({ length: c.n }, (_, i) => at(places, i % places.length))
  ops.opsRope({ table, threads, x, ...c, positions, invFreq: frequencies(c.rotary), magnitude })
  return x
}

function exact(c: Case): Float64Array {
  const x = Float64Array.from(normals(5, c.n * c.heads * c.headDim))
  const invFreq = frequencies(c.rotary)
  const half = c.rotary / 2
  for (let row = 0; row < c.n; row++) {
    for (let head = 0; head < c.heads; head++) {
      const base = (row * c.heads + head) * c.headDim
      for (let i = 0; i < half; i++) {
        const angle = at(places, row % places.length) * at(invFreq, i)
        const [first, second] = c.adjacent ? [2 * i, 2 * i + 1] : [i, i + half]
        const [a, b] = [at(x, base + first), at(x, base + second)]
        x[base + first] = (a * Math.cos(angle) - b * Math.sin(angle)) * magnitude
        x[base + second] = (b * Math.cos(angle) + a * Math.sin(angle)) * magnitude
      }
    }
  }
  return x
}

describe.each(tables)('rope on the %s table', (table) => {
  it.each(cases)(
    'agrees with float64 up to position 999983: $heads heads of $headDim, $rotary turned, adjacent $adjacent',
    (c) => {
      // Values stay below 6 * magnitude * sqrt(2); sine and cosine are good to a few units.
      expect(worst(run(table, c), exact(c), () => 4e-6)).toBeLessThan(1)
    },
  )

  it('leaves the dimensions beyond rotary as they are', () => {
    const c = { n: 3, heads: 2, headDim: 64, rotary: 20, adjacent: 0 }
    const before = normals(5, c.n * c.heads * c.headDim)
    const after = run(table, c)
    for (let i = 0; i < before.length; i++)
      if (i % c.headDim >= c.rotary) expect(at(after, i)).toBe(at(before, i))
  })

  it('keeps to its heads when rows are further apart', () => {
    const c = { n: 3, heads: 2, headDim: 16, rotary: 16, adjacent: 1 }
    const stride = 50
    const dense = run(table, c)
    const source = normals(5, c.n * 32)
    const x = new Float32Array(c.n * stride).fill(7)
    for (let row = 0; row < c.n; row++)
      x.set(source.subarray(row * 32, row * 32 + 32), row * stride)
    const positions = Int32Array.from(places.slice(0, c.n))
    ops.opsRope({ table, x, stride, ...c, positions, invFreq: frequencies(16), magnitude })
    for (let row = 0; row < c.n; row++) {
      expect(
        sameBits(x.slice(row * stride, row * stride + 32), dense.slice(row * 32, row * 32 + 32)),
      ).toBe(true)
      expect(x.slice(row * stride + 32, (row + 1) * stride).every((value) => value === 7)).toBe(
        true,
      )
    }
  })

  it('gives the same bits on any number of threads', () => {
    const c = { n: 300, heads: 4, headDim: 64, rotary: 64, adjacent: 0 }
    expect(sameBits(run(table, c, 3), run(table, c, 1))).toBe(true)
  })
})
