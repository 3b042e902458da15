// The CUDA kernels in their host form: the runner's own rules, and matmul against float64. The other
// operators are tested with the tables of the CPU, in the files of their names.

import { afterEach, describe, expect, test } from 'vitest'
import {
  built,
  counted,
  cuda,
  multiply,
  product,
  resetCuda,
  seeds,
  withoutGroups,
} from '../../support/cuda.js'
import { normals, ops, type Product, sameBits, unit } from '../../support/ops.js'

afterEach(resetCuda)

describe.skipIf(!built)('the runner of kernels', () => {
  const found = (kernel: string): string[] =>
    seeds.map((seed) => cuda.cudaRun(kernel, seed, 64, 256))

  test('runs a right kernel to its end under every schedule', () => {
    expect(found('none').every((message) => message === '')).toBe(true)
  })

  test.each([
    ['lanes of a warp meet at two places', /^the lanes of a warp meet at cuda\.cpp:\d+ and at/],
    ['threads of a block meet at two places', /^the threads of a block meet at cuda\.cpp:\d+ and/],
    ['a lane leaves before its warp meets', /^deadlock: 31 threads wait at cuda\.cpp:\d+$/],
    [
      'one warp waits for the block, the other for a lane that does',
      /^deadlock: 64 threads wait at cuda\.cpp:\d+, cuda\.cpp:\d+$/,
    ],
    ['a copy to an odd address', /^an address off 16 bytes at cuda\.cpp:\d+$/],
    [
      'an arrival at a barrier that was not opened',
      /^a barrier that was not opened at cuda\.cpp:\d+$/,
    ],
    [
      'an arrival more than the barrier was opened for',
      /^an arrival more than the barrier was opened for at cuda\.cpp:\d+$/,
    ],
    ['a barrier beyond shared memory', /^a barrier beyond shared memory at cuda\.cpp:\d+$/],
    ['a bulk copy beyond shared memory', /^a bulk copy beyond shared memory at cuda\.cpp:\d+$/],
    ['shared memory that was written beyond its end', /^shared memory was written beyond its end$/],
    ['lanes that multiply by different tiles', /^the lanes of a warp multiply by different tiles$/],
    ['a wait for a phase that never ends', /^deadlock: 1 threads wait at cuda\.cpp:\d+$/],
  ])('finds: %s', (kernel, message) => {
    for (const one of found(kernel)) expect(one).toMatch(message)
  })

  test('finds a block that ends before its copies have come, under some schedules', () => {
    const messages = new Set(found('a block that ends before its copies have come'))
    expect(messages).toEqual(new Set(['', 'a block ends before its copies have come']))
  })

  test('starts a kernel before the one before it has run', () => {
    for (const seed of seeds) {
      expect(cuda.cudaEarly('before', seed)).toBe(0)
      expect(cuda.cudaEarly('after', seed)).toBe(1)
      expect(cuda.cudaEarly('never', seed)).toBe('a kernel does not wait for the one before it')
    }
  })

  test('refuses more shared memory or threads than a device has', () => {
    expect(cuda.cudaRun('none', 1, 64, 300_000)).toBe(
      'Expected at most 232448 bytes of shared memory but found 300000',
    )
    expect(cuda.cudaRun('none', 1, 2000, 0)).toBe(
      'Expected a block of 1..1024 threads but found 2000',
    )
  })

  test('starts a block with NaN in its shared memory', () => {
    expect([...cuda.cudaSharedStart()].every((byte) => byte === 0xff)).toBe(true)
  })
})

const isFloat = (type: string): boolean => type === 'F32' || type === 'F16' || type === 'BF16'

const hasOffset = /^(Q4_1|Q5_1|Q2_K|Q4_K|Q5_K)$/

/** What tensor cores see of x: BF16, or f16 under a power of two for each row; F32 as it is. */
function seen(type: string, x: Float32Array, n: number): Float32Array {
  if (type === 'F32') return x
  const cols = x.length / n
  const out = new Float32Array(x.length)
  for (let row = 0; row < n; row++) {
    const values = x.subarray(row * cols, (row + 1) * cols)
    const most = values.reduce((a, v) => Math.max(a, Math.abs(v)), 0)
    const power = type === 'BF16' || most === 0 ? 1 : 2 ** (14 - Math.floor(Math.log2(most)))
    const half = type === 'BF16' ? 'BF16' : 'F16'
    const scaled = values.map((v) => v * power)
    const rounded = ops.decodeRow(half, ops.encodeRow(half, scaled), cols)
    out.set(
      rounded.map((v) => v / power),
      row * cols,
    )
  }
  return out
}

/** Largest error over what f32 sums in any order keep to, scales and offsets included. */
function worstError(out: Float32Array, type: string, x: Float32Array, n: number, p: Product) {
  const cols = x.length / n
  const weights = ops.decodeRow(type, p.weight, p.rows * cols)
  const inputs = seen(type, x, n)
  // An offset is taken from a product of levels: their sizes bound the error, not the difference.
  const levels = hasOffset.test(type) ? 4 : 1
  let worst = 0
  for (let t = 0; t < n; t++)
    for (let r = 0; r < p.rows; r++) {
      let [sum, size] = [0, 0]
      for (let k = 0; k < cols; k++) {
        const term = (inputs[t * cols + k] ?? Number.NaN) * (weights[r * cols + k] ?? Number.NaN)
        sum += term
        size += Math.abs(term)
      }
      const error = Math.abs((out[t * p.rows + r] ?? Number.NaN) - sum)
      const ratio = error / (levels * size * (cols + 8) * unit)
      if (!(ratio <= worst)) worst = Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio
    }
  return worst
}

const types = ops.matmulTypes()

describe.skipIf(!built).each(types)('matmul of $name on CUDA', ({ name, block }) => {
  const shapes = [
    { rows: 16, cols: 512, n: 1 },
    { rows: 37, cols: Math.max(block, 32) * 3, n: 11 },
    { rows: 5, cols: Math.max(block, 32), n: 20 },
    { rows: 70, cols: 768, n: 67 },
  ]
  if (isFloat(name)) shapes.push({ rows: 17, cols: 43, n: 6 })

  test.each(shapes)(
    'multiplies $rows x $cols by $n tokens as float64 does',
    ({ rows, cols, n }) => {
      const p = product(name, rows, cols)
      const x = normals(3, n * cols, 5)
      expect(worstError(multiply(x, n, p), name, x, n, p)).toBeLessThan(1)
    },
  )

  test('gives a token the same bits in every batch', () => {
    const [rows, cols, most] = [24, 512, 70]
    const p = product(name, rows, cols)
    const x = normals(5, most * cols)
    const all = multiply(x, most, p)
    for (const n of [1, 8, 9, 16, 17, 64, 65])
      expect(
        sameBits(multiply(x.subarray(0, n * cols), n, p), all.subarray(0, n * rows)),
        `a batch of ${n}`,
      ).toBe(true)
  })

  test('keeps large, small and spoiled rows apart', () => {
    const cols = 512
    const p = product(name, 16, cols)
    const x = normals(6, 4 * cols)
    const clean = multiply(x, 4, p)
    x.subarray(cols, 2 * cols).forEach((v, i) => {
      x[cols + i] = v * 2 ** 60
    })
    x.subarray(2 * cols, 3 * cols).forEach((v, i) => {
      x[2 * cols + i] = v * 2 ** -60
    })
    x[3 * cols + 7] = Number.NaN
    const out = multiply(x, 4, p)
    for (let r = 0; r < 16; r++) {
      expect(out[r]).toBe(clean[r])
      expect(out[16 + r]).toBe((clean[16 + r] ?? 0) * 2 ** 60)
      expect(out[32 + r]).toBe((clean[32 + r] ?? 0) * 2 ** -60)
      expect(out[48 + r]).toBeNaN()
    }
  })
})

test.skipIf(!built)('warpgroups are left alone where they round otherwise than warps', () => {
  const run = () => multiply(normals(1, 130 * 64), 130, product('F16', 20, 64))
  const filesOf = (out: () => Float32Array): [Float32Array, string[]] => {
    cuda.cudaSites(true)
    const values = out()
    return [values, cuda.cudaSites(false).map(({ file, kind }) => `${kind} ${file}`)]
  }
  const [by, sites] = filesOf(run)
  const [without, wide] = filesOf(() => withoutGroups(run, 2))
  expect(sameBits(by, without)).toBe(true)
  expect(sites.filter((name) => name.includes('matmul-wide'))).toEqual([])
  expect(wide.filter((name) => name.includes('matmul-wide'))).not.toEqual([])
})

// 11 tiles: slices of one and of two. Of warpgroups a few rows go in blocks of 64 tokens.
const manyTokens = ['F16', 'BF16'].flatMap((type) =>
  [150, 40].map((rows) => ({ type, rows, cols: 704, most: 133 })),
)
test.skipIf(!built).each([...manyTokens, { type: 'BF16', rows: 129, cols: 43, most: 200 }])(
  'a token of $type has the same bits in a batch for $rows rows that blocks of many tokens take',
  ({ type, rows, cols, most }) => {
    const p = product(type, rows, cols)
    const x = normals(5, most * cols)
    const all = multiply(x, most, p)
    expect(worstError(all, type, x, most, p)).toBeLessThan(1)
    expect(
      sameBits(
        withoutGroups(() => multiply(x, most, p)),
        all,
      ),
    ).toBe(true)
    for (const first of [0, most - 64]) {
      const some = multiply(x.subarray(first * cols, (first + 64) * cols), 64, p)
      expect(sameBits(some, all.subarray(first * rows, (first + 64) * rows))).toBe(true)
    }
  },
)

test.skipIf(!built)('products of one input that blocks of many tokens take share a launch', () => {
  const [n, cols] = [140, 256]
  const x = normals(5, n * cols)
  const products = [150, 20, 300].map((rows, i) => product('BF16', rows, cols, i + 1))
  const together = counted(() => {
    const outs = ops.matmul('cuda', 1, x, n, products)
    return Float32Array.of(...outs.flatMap((out) => [...out]))
  })
  const apart = products.flatMap((p) => [...multiply(x, n, p)])
  expect(sameBits(together.out, Float32Array.of(...apart))).toBe(true)
  expect(together.kernels).toBe(6) // four that check how warpgroups round, the input, the products
})

test.skipIf(!built).each([
  ['F16', 16],
  ['Q4_0', 4.5],
  ['Q4_K', 4.625],
  ['Q8_0', 8.5],
  ['Q6_K', 8.5625], // 6.5625 in the file: its levels take a byte
])('%s packs into %d bits a weight', (type, bits) => {
  expect((ops.packedBytes('cuda', type, 64, 1024) * 8) / (64 * 1024)).toBe(bits)
})

test.skipIf(!built)('a plain quantized weight is refused by name', () => {
  const p = { ...product('Q8_0', 16, 64), packed: false }
  expect(() => multiply(normals(1, 64), 1, p)).toThrow(
    'Expected a packed Q8_0 weight for this device but found a plain one',
  )
})
