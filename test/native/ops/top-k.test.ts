import { describe, expect, it } from 'vitest'
import { at, normals, ops, tables } from '../../support/ops.js'

interface Best {
  index: number
  value: number
}

function topK(table: string, x: Float32Array, n: number, k: number): Best[][] {
  const [indices, values] = [new Int32Array(n * k), new Float32Array(n * k)]
  ops.opsTopK({ table, x, indices, values, k })
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: k }, (_, j) => ({
      index: at(indices, i * k + j),
      value: at(values, i * k + j),
    })),
  )
}

/** By a sort of everything. */
function sorted(x: Float32Array, n: number, k: number): Best[][] {
  const width = x.length / n
  return Array.from({ length: n }, (_, i) => {
    const ranked = [...x.subarray(i * width, (i + 1) * width)]
      .map((value, index) => ({ index, value }))
      .filter(({ value }) => !Number.isNaN(value))
      .sort((a, b) => (a.value === b.value ? a.index - b.index : a.value > b.value ? -1 : 1))
    return Array.from({ length: k }, (_, j) => ranked[j] ?? { index: -1, value: 0 })
  })
}

describe.each(tables)('the best of each row on %s', (table) => {
  it.each([
    [1, 1, 1],
    [3, 7, 5],
    [2, 1023, 128],
    [4, 5000, 1],
    [3, 5000, 40],
    [2, 30_001, 128],
  ])('are those of a sort: %i rows of %i, %i of each', (n, width, k) => {
    const x = normals(n * width, n * width)
    expect(topK(table, x, n, k)).toEqual(sorted(x, n, k))
  })

  it('are exact however they lie', () => {
    const width = 70_000
    const rows: Record<string, (i: number) => number> = {
      'all equal': () => 2.5,
      rising: (i) => i,
      falling: (i) => -i,
      // The good ones lie where few threads of a block look, so that their bound is far too low.
      'in few columns': (i) => (i % 1024 < 100 ? 1000 + ((i * 7919) % 5003) : -i),
      'one above equals': (i) => (i === 40_000 ? 1 : 0),
      'two kinds of zero': (i) => (i % 3 === 0 ? -0 : 0),
      'the ends of the range': (i) =>
        [Number.NEGATIVE_INFINITY, -3e38, 1e-45, Number.POSITIVE_INFINITY, 3e38][i % 5] ?? 0,
    }
    for (const [name, make] of Object.entries(rows)) {
      const x = Float32Array.from({ length: width }, (_, i) => make(i))
      for (const k of [1, 20, 128]) {
        expect(topK(table, x, 1, k), `${name}, ${k}`).toEqual(sorted(x, 1, k))
      }
    }
  })

  it('are refused for more than 128', () => {
    const x = normals(1, 300)
    expect(() => topK(table, x, 1, 129)).toThrow('Expected k to be 1..128 but found 129')
  })

  it('leave out NaN, and say where a row has fewer', () => {
    const x = Float32Array.of(Number.NaN, 1, Number.NaN, 3, 2, Number.NaN, Number.NaN, Number.NaN)
    expect(topK(table, x, 2, 3)).toEqual(sorted(x, 2, 3))
    expect(topK(table, x.fill(Number.NaN), 1, 2).flat()).toEqual([
      { index: -1, value: 0 },
      { index: -1, value: 0 },
    ])
  })
})
