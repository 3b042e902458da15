import { describe, expect, it } from 'vitest'
import { at, normals, ops, sameBits, tables, unit, worst } from '../../support/ops.js'

interface Case {
  n: number
  dim: number
  added: boolean
}

const eps = 1e-5
const cases: Case[] = [
  { n: 1, dim: 1, added: false },
  { n: 3, dim: 5, added: true },
  { n: 2, dim: 64, added: true },
  { n: 7, dim: 100, added: false },
  { n: 40, dim: 1024, added: true },
]

function run(table: string, c: Case, threads = 1) {
  const x = normals(1, c.n * c.dim, 3)
  const add = c.added ? normals(2, c.n * c.dim) : undefined
  const weight = normals(3, c.dim)
  const out = new Float32Array(x.length)
  ops.opsNorm({ table, threads, x, ...(add ? { add } : {}), weight, out, n: c.n, dim: c.dim, eps })
  return { x, out }
}

/** The same in float64, of the f32 sums x + add. */
function exact(c: Case): { x: Float32Array; out: Float64Array } {
  const x = normals(1, c.n * c.dim, 3)
  const weight = normals(3, c.dim)
  if (c.added) {
    const add = normals(2, c.n * c.dim)
    for (let i = 0; i < x.length; i++) x[i] = at(x, i) + at(add, i)
  }
  const out = new Float64Array(x.length)
  for (let row = 0; row < c.n; row++) {
    let squares = 0
    for (let j = 0; j < c.dim; j++) squares += at(x, row * c.dim + j) ** 2
    const scale = 1 / Math.sqrt(squares / c.dim + Math.fround(eps))
    for (let j = 0; j < c.dim; j++)
      out[row * c.dim + j] = at(x, row * c.dim + j) * scale * at(weight, j)
  }
  return { x, out }
}

describe.each(tables)('norm on the %s table', (table) => {
  it.each(cases)('agrees with float64 for $n rows of $dim, added: $added', (c) => {
    const truth = exact(c)
    const { x, out } = run(table, c)
    expect(sameBits(x, truth.x)).toBe(true)
    // The sum of squares: one rounding per addition on a path of at most dim, all terms positive.
    const relative = (c.dim / 2 + 8) * unit
    expect(
      worst(out, truth.out, (i) => relative * Math.abs(at(truth.out, i)) + 1e-30),
    ).toBeLessThan(1)
  })

  it('gives each row the same bits alone, in a batch and on any number of threads', () => {
    const c = { n: 200, dim: 300, added: false }
    const { out } = run(table, c, 1)
    expect(sameBits(run(table, c, 3).out, out)).toBe(true)
    const x = normals(1, c.n * c.dim, 3)
    for (const row of [0, 17, 199]) {
      const alone = new Float32Array(c.dim)
      const part = x.slice(row * c.dim, (row + 1) * c.dim)
      ops.opsNorm({ table, x: part, weight: normals(3, c.dim), out: alone, n: 1, dim: c.dim, eps })
      expect(sameBits(alone, out.slice(row * c.dim, (row + 1) * c.dim))).toBe(true)
    }
  })

  it('writes in place when out is x', () => {
    const c = { n: 5, dim: 96, added: false }
    const x = normals(1, c.n * c.dim, 3)
    ops.opsNorm({ table, x, weight: normals(3, c.dim), out: x, n: c.n, dim: c.dim, eps })
    expect(sameBits(x, run(table, c).out)).toBe(true)
  })
})
