import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { at, normals, ops, type SampleQuery, tables } from '../../support/ops.js'

interface Told {
  token: number
  value: number
  highest: number
  sum: number
}

function sample(table: string, x: Float32Array, rows: SampleQuery[], threads = 1): Told[] {
  const told = new Float64Array(4 * rows.length)
  ops.opsSample({ table, x, rows, told, threads })
  return rows.map((_, i) => {
    const [token = 0, value = 0, highest = 0, sum = 0] = told.subarray(4 * i, 4 * i + 4)
    return { token, value, highest, sum }
  })
}

const one = (table: string, x: Float32Array, row: SampleQuery): Told => {
  const [told] = sample(table, x.slice(), [row])
  if (!told) throw new Error('Expected a row')
  return told
}

/** What may be drawn, in order of token, and how likely each is: in float64. */
function likelihoods(x: Float32Array, row: SampleQuery): { token: number; share: number }[] {
  const { inverseTemperature = 1, topK = 0, topP = 1, least = Number.NEGATIVE_INFINITY } = row
  const highest = x.reduce((most, v) => Math.max(most, v))
  const weigh = (v: number) => Math.exp((v - highest) * inverseTemperature)
  let kept = [...x]
    .map((value, token) => ({ token, value, weight: weigh(value) }))
    .sort((a, b) => b.value - a.value || a.token - b.token)
  if (topK) kept = kept.slice(0, topK)
  if (topP < 1) {
    const all = kept.reduce((sum, { weight }) => sum + weight, 0)
    let reached = 0
    const end = kept.findIndex(({ weight }) => {
      reached += weight
      return reached >= Math.fround(topP) * all * (1 - 1e-7)
    })
    kept = kept.slice(0, end + 1)
  }
  kept = kept.filter(({ value }) => (value - highest) * inverseTemperature >= least)
  const all = kept.reduce((sum, { weight }) => sum + weight, 0)
  return kept
    .sort((a, b) => a.token - b.token)
    .map(({ token, weight }) => ({ token, share: weight / all }))
}

/** How far `uniform` lies outside the token's part of the cumulative distribution. */
function miss(x: Float32Array, row: SampleQuery, token: number): number {
  const { uniform = 0 } = row
  let before = 0
  for (const one of likelihoods(x, row)) {
    if (one.token === token) return Math.max(before - uniform, uniform - before - one.share, 0)
    before += one.share
  }
  return 1
}

const hard: Record<string, (i: number) => number> = {
  'all equal': () => 2.5,
  'equal but for the last bit': (i) => 2 + (i % 5) * 2 ** -22,
  rising: (i) => i / 100,
  'far apart': (i) => -i * 50,
  'two kinds of zero': (i) => (i % 3 === 0 ? -0 : 0),
  'mostly impossible': (i) => (i % 100 === 7 ? i / 1e4 : Number.NEGATIVE_INFINITY),
}

describe.each(tables)('a token drawn by %s', (table) => {
  it('is where the cumulative distribution of what is kept passes the random number', () => {
    const row = fc.record(
      {
        uniform: fc.double({ min: 0, max: 1 - 2 ** -53, noNaN: true }),
        inverseTemperature: fc.constantFrom(0.3, 1, 1 / 0.7, 5),
        topK: fc.constantFrom(0, 1, 40, 1500),
        topP: fc.constantFrom(1, 0.95, 0.5, 0.01),
        least: fc.constantFrom(Math.log(0.05), Math.log(0.5)),
      },
      { requiredKeys: ['uniform'] },
    )
    fc.assert(
      fc.property(row, fc.integer(), fc.constantFrom(1, 40, 3000), (row, numbers, width) => {
        const x = normals(numbers, width).map((v) => v * 3)
        expect(miss(x, row, one(table, x, row).token)).toBeLessThan(1e-6)
      }),
      { numRuns: 60 },
    )
  })

  it.each(Object.entries(hard))('is right where values are %s', (_, make) => {
    const x = Float32Array.from({ length: 9000 }, (_, i) => make(i))
    for (const uniform of [0, 0.31, 0.9999])
      for (const cut of [{}, { topK: 1200 }, { topP: 0.625 }, { topK: 5000, topP: 0.3125 }]) {
        const row = { uniform, ...cut }
        const likely = likelihoods(x, row)
        const { token } = one(table, x, row)
        expect(miss(x, row, token), `${JSON.stringify(row)} of ${likely.length}`).toBeLessThan(2e-4)
      }
  })

  it('is the first of the likeliest at temperature 0', () => {
    const x = normals(3, 5000)
    x[1234] = 90
    x[1233] = 90
    expect(one(table, x, { inverseTemperature: 0, topK: 3, uniform: 0.9 }).token).toBe(1233)
  })

  it('obeys bias and penalties, and tells the logit before them', () => {
    const x = Float32Array.of(1, 4, 3, 2, -1)
    const row = {
      inverseTemperature: 0,
      repetitionPenalty: 2,
      presencePenalty: 0.5,
      frequencyPenalty: 0.25,
      changes: [
        { token: 1, inOutput: 3 },
        { token: 2, inOutput: 0 },
        { token: 4, inOutput: 1, bias: -1 },
        { token: 3, bias: 0.125 },
      ],
    }
    const changed = x.slice()
    const [told] = sample(table, changed, [row])
    expect([...changed]).toEqual([1, 4 / 2 - 0.5 - 0.75, 1.5, 2.125, -4 - 0.5 - 0.25])
    expect(told).toEqual({ token: 3, value: 2, highest: 4, sum: 0 })
  })

  it('comes with the sum of all weights, a known token with its logit', () => {
    const x = normals(9, 70_000)
    const told = one(table, x, { target: 69_999, wantsSum: 1 })
    const highest = x.reduce((most, v) => Math.max(most, v))
    const sum = x.reduce((all, v) => all + Math.exp(v - highest), 0)
    expect(told).toMatchObject({ token: 69_999, value: at(x, 69_999), highest })
    expect(Math.abs(told.sum / 2 ** 44 / sum - 1)).toBeLessThan(1e-6)
  })

  it('is none where a row has nothing finite to draw', () => {
    const rows = [Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
    for (const value of rows)
      for (const topP of [1, 0.5])
        for (const only of [false, true]) {
          const x = only ? normals(4, 3000) : new Float32Array(50).fill(value)
          if (only) x[31] = value
          const told = one(table, x, { topP, uniform: 0.5, wantsSum: 1 })
          const isFine = only && value < 0 // one impossible token among others
          expect(told.token >= 0, `${value}, ${only}`).toBe(isFine)
          expect(told.sum > 0).toBe(isFine)
        }
  })

  it('does not depend on the other rows', () => {
    const width = 2000
    const rows: SampleQuery[] = Array.from({ length: 7 }, (_, i) => ({
      uniform: i / 7,
      topK: i % 2 ? 50 : 0,
      topP: i % 3 ? 0.8 : 1,
      wantsSum: i % 2,
      changes: i === 4 ? [{ token: 7, bias: 50 }] : [],
    }))
    const x = normals(11, rows.length * width)
    const together = sample(table, x.slice(), rows)
    rows.forEach((row, i) => {
      expect(one(table, x.slice(i * width, (i + 1) * width), row)).toEqual(together[i])
    })
  })
})

describe.each(tables.filter((table) => table !== 'reference'))('%s', (table) => {
  it('draws what the reference table draws', () => {
    const width = 4000
    const x = normals(12, width * 40)
    const rows: SampleQuery[] = Array.from({ length: 40 }, (_, i) => ({
      uniform: (i * 0.6180339887) % 1,
      inverseTemperature: 1 / (0.2 + (i % 5)),
      topK: [0, 3, 300, 2200][i % 4] ?? 0,
      topP: [1, 0.9, 0.3][i % 3] ?? 1,
      wantsSum: 1,
    }))
    expect(sample(table, x.slice(), rows, 3)).toEqual(sample('reference', x.slice(), rows))
  })

  it.each(
    Object.entries({
      ...hard,
      'like logits': (i: number) => 4 * Math.sin(i * i) ** 9,
      'one peak above a heavy tail': (i: number) => (i === 77 ? 14 : (i % 13) / 100),
      'too small to be told apart': (i: number) => (i % 5) * 1.5e-45,
    }),
  )('draws the same from wide rows where values are %s', (_, make) => {
    // Not a multiple of any block; cuts on both sides of what is ranked at once.
    const width = table === 'cuda' ? 5003 : 70_003
    const cuts: SampleQuery[] = [
      {},
      { topK: 2 },
      { topK: 100 },
      { topK: 4999 },
      { topP: 0.999 },
      { topP: 0.25 },
      { topK: 3000, topP: 0.75 },
      { topK: width - 1, topP: 0.99999994 },
      { topP: 0 },
      { least: 0 },
      { least: Math.log(0.3) },
      { inverseTemperature: 1e30, topP: 0.5 },
      { inverseTemperature: 1e-30, least: 0 },
      { inverseTemperature: 1e-3, topP: 0.99 },
      { topK: 700, topP: 0.9, least: Math.log(0.01) },
      { inverseTemperature: 0 },
      { target: 4001, wantsSum: 1 },
      { changes: [{ token: 4321, bias: 4 }], topP: 0.5, wantsSum: 1 },
    ]
    const rows = cuts.flatMap((cut) =>
      [0, 0.43, 0.999999].map((uniform) => ({ inverseTemperature: 1.25, ...cut, uniform })),
    )
    const row = Float32Array.from({ length: width }, (_, i) => make(i))
    const x = Float32Array.from({ length: width * rows.length }, (_, i) => at(row, i % width))
    expect(sample(table, x.slice(), rows, 3)).toEqual(sample('reference', x.slice(), rows))
  })
})
