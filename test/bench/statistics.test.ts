import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { median, quantile, rounded, spread } from '../../bench/statistics.js'

const finite = fc.double({ noNaN: true, min: -1e6, max: 1e6 })

describe('statistics', () => {
  it('takes the middle of an odd number of values whatever their order', () => {
    expect(median([9, 1, 4])).toBe(4)
  })

  it('takes the mean of the middle two of an even number', () => {
    expect(median([1, 10, 2, 4])).toBe(3)
  })

  it('interpolates quantiles between neighbours', () => {
    expect(quantile([0, 10], 0.99)).toBeCloseTo(9.9)
    expect(quantile([7], 0.99)).toBe(7)
  })

  it('gives NaN for no values', () => {
    expect(median([])).toBeNaN()
  })

  it('keeps every quantile between the lowest and the highest value and in order', () => {
    fc.assert(
      fc.property(fc.array(finite, { minLength: 1 }), (values) => {
        const { min, median: middle, p99, max, count } = spread(values)
        expect(count).toBe(values.length)
        // -0 is a lowest value as good as 0, and Object.is tells them apart.
        expect(min + 0).toBe(Math.min(...values) + 0)
        expect(max + 0).toBe(Math.max(...values) + 0)
        expect(middle).toBeGreaterThanOrEqual(min)
        expect(p99).toBeGreaterThanOrEqual(middle - 1e-9)
        expect(max).toBeGreaterThanOrEqual(p99 - 1e-9)
      }),
    )
  })

  it('does not sort the values it was given', () => {
    const values = [3, 1, 2]
    spread(values)
    expect(values).toEqual([3, 1, 2])
  })

  it('keeps four digits and leaves what is not finite', () => {
    expect(rounded(123456)).toBe(123500)
    expect(rounded(0.00123456)).toBe(0.001235)
    expect(rounded(Number.NaN)).toBeNaN()
  })
})
