import { expect, test } from 'vitest'
import { probe } from '../../support/probe.js'

const { philox, uniform } = probe<{
  philox(counter: Uint32Array, key: Uint32Array): Uint32Array
  uniform(seed: number, n: number): Float64Array // at positions 0 to n
}>()

// Known answers of Philox4x32 with 10 rounds, published with the paper's Random123 library.
test.each([
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
])('philox of %j under %j is the published answer', (counter, key, answer) => {
  expect([...philox(Uint32Array.from(counter), Uint32Array.from(key))]).toEqual(answer)
})

test('numbers lie in [0, 1) and fill it evenly', () => {
  const n = 100_000
  const bins = new Array<number>(100).fill(0)
  const numbers = uniform(42, n)
  expect(numbers.every((u) => u >= 0 && u < 1)).toBe(true)
  for (const u of numbers) {
    const bin = Math.floor(u * 100)
    bins[bin] = (bins[bin] ?? 0) + 1
  }
  const chiSquare = bins.reduce((sum, count) => sum + (count - n / 100) ** 2 / (n / 100), 0)
  expect(chiSquare).toBeLessThan(148.2) // 99 degrees of freedom, p = 0.001
})

test('neighbouring seeds and positions are not correlated', () => {
  const n = 50_000
  const a = uniform(7, n)
  const b = uniform(8, n)
  const correlation = (x: Float64Array, y: Float64Array, shift: number) => {
    let sum = 0
    for (let i = 0; i + shift < n; i++) sum += ((x[i] ?? 0) - 0.5) * ((y[i + shift] ?? 0) - 0.5)
    return (sum / (n - shift)) * 12
  }
  for (const value of [correlation(a, b, 0), correlation(a, a, 1), correlation(a, b, 1)]) {
    expect(Math.abs(value)).toBeLessThan(4 / Math.sqrt(n))
  }
})

test('a number depends on its seed and position alone', () => {
  expect(uniform(9, 10)).toEqual(uniform(9, 1000).slice(0, 10))
  expect(uniform(9, 10)).not.toEqual(uniform(10, 10))
})
