import { describe, expect, test } from 'vitest'
import { ops as native, type Product } from '../../support/ops.js'

const tables = native.matmulTables()
const types = native.matmulTypes()
const isFloat = (type: string) => ['F32', 'F16', 'BF16'].includes(type)
const cases = tables.flatMap((table) => types.map((type) => ({ table, ...type })))

// A fixed sequence of values about -1..1 (xorshift).
function values(seed: number, n: number): Float32Array {
  let state = seed * 2654435761 + 1
  return Float32Array.from({ length: n }, () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state / 2 ** 31
  })
}

function product(type: string, rows: number, cols: number, packed = true, seed = 1): Product {
  return { type, rows, packed, weight: native.encodeRow(type, values(seed, rows * cols)) }
}

function one(table: string, threads: number, x: Float32Array, n: number, p: Product): Float32Array {
  const out = native.matmul(table, threads, x, n, [p])[0]
  if (!out) throw new Error('Expected one output')
  return out
}

// Whether a type is multiplied by integers of 16 bits.
const isWide = (type: string, cols: number) => ['F16', 'BF16'].includes(type) && cols % 32 === 0

// To the nearest whole number, ties to even.
function nearest(value: number): number {
  const down = Math.floor(value)
  const above = value - down
  return above > 0.5 || (above === 0.5 && down % 2 !== 0) ? down + 1 : down
}

// What the kernels see of F16 and BF16 weights: each 256 values of a row as whole steps of the
// least power of two that keeps them within 16 bits and each 64 of them within a length of 65500.
function wideWeights(weights: Float32Array, cols: number): Float64Array {
  return Float64Array.from(weights, (v, i) => {
    const start = i - ((i % cols) % 256)
    const unit = weights.subarray(start, Math.min(start + 256, i - (i % cols) + cols))
    const lengths = Array.from({ length: Math.ceil(unit.length / 64) }, (_, b) =>
      Math.hypot(...unit.subarray(64 * b, 64 * b + 64)),
    )
    const most = Math.max(...unit.map(Math.abs)) / 32767
    const step = 2 ** Math.ceil(Math.log2(Math.max(most, ...lengths.map((l) => l / 65500))))
    return nearest(v / step) * step
  })
}

// What they see of an input beside them: each 64 values as whole steps of a 32760th of their
// length, which is taken in one order.
function wideInput(x: Float32Array, cols: number): Float64Array {
  const f = Math.fround
  const squares = (block: Float32Array): number => {
    let sums = Array.from({ length: 16 }, (_, i) => {
      const [low, high] = [block[i] ?? 0, block[i + 16] ?? 0]
      return f(high * high + f(low * low))
    })
    while (sums.length > 1)
      sums = sums.slice(sums.length / 2).map((sum, i) => f(sum + (sums[i] ?? 0)))
    return sums[0] ?? 0
  }
  const out = new Float64Array(x.length)
  for (let start = 0, end = 0; start < x.length; start = end) {
    end = Math.min(start + 64, start - (start % cols) + cols)
    const block = x.subarray(start, end)
    const length = f(Math.sqrt(f(squares(block.subarray(0, 32)) + squares(block.subarray(32)))))
    const inverse = f(32760 / length)
    block.forEach((v, i) => {
      out[start + i] = nearest(f(v * inverse)) * f(length / 32760)
    })
  }
  return out
}

// What the kernels may see of x: each 32 values as whole steps of a 127th of the largest.
function rounded(x: Float32Array, cols: number): Float64Array {
  const out = new Float64Array(x.length)
  for (let start = 0; start < x.length; start += 32) {
    if (start % cols > cols - 32) throw new Error('Expected whole blocks')
    const block = x.subarray(start, start + 32)
    const largest = block.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
    const step = Math.fround(largest / 127)
    const inverse = Math.fround(127 / largest)
    block.forEach((v, i) => {
      out[start + i] = nearest(Math.fround(v * inverse)) * step
    })
  }
  return out
}

// Largest |out - sum| over the bound that f32 additions in any fixed order keep: (terms + 4) half
// units in the last place of the sum of absolute products.
function worstError(
  out: Float32Array,
  x: Float32Array | Float64Array,
  weights: Float32Array | Float64Array,
  shape: { n: number; rows: number; cols: number },
): number {
  const { n, rows, cols } = shape
  let worst = 0
  for (let t = 0; t < n; t++)
    for (let r = 0; r < rows; r++) {
      let sum = 0
      let size = 0
      for (let k = 0; k < cols; k++) {
        const term = (x[t * cols + k] ?? Number.NaN) * (weights[r * cols + k] ?? Number.NaN)
        sum += term
        size += Math.abs(term)
      }
      const bound = size * (cols + 4) * 2 ** -24
      worst = Math.max(worst, Math.abs((out[t * rows + r] ?? Number.NaN) - sum) / bound)
    }
  return worst
}

const same = (a: Float32Array, b: Float32Array) =>
  Buffer.compare(
    Buffer.from(a.buffer, a.byteOffset, a.byteLength),
    Buffer.from(b.buffer, b.byteOffset, b.byteLength),
  ) === 0

test('this processor has at least one fast table', () => {
  if (process.arch !== 'x64') return
  expect(tables.length).toBeGreaterThan(0)
})

describe.each(cases)('$table $name', ({ table, name, block }) => {
  const shapes = [
    { rows: 16, cols: 256, n: 1 },
    { rows: 37, cols: Math.max(block, 32) * 3, n: 3 },
    { rows: 5, cols: Math.max(block, 32), n: 9 },
    { rows: 100, cols: 1536, n: 21 },
  ]
  if (isWide(name, 32)) shapes.push({ rows: 17, cols: 352, n: 40 })
  if (isFloat(name)) shapes.push({ rows: 17, cols: 43, n: 6 })

  test.each(shapes)('multiplies $rows x $cols by $n tokens as float64 does', (shape) => {
    const { rows, cols, n } = shape
    const p = product(name, rows, cols)
    const x = values(3, n * cols)
    const weights = native.decodeRow(name, p.weight, rows * cols)
    const out = one(table, 1, x, n, p)
    if (isWide(name, cols)) {
      const [seen, codes] = [wideInput(x, cols), wideWeights(weights, cols)]
      expect(worstError(out, seen, codes, shape)).toBeLessThan(1)
    } else {
      expect(worstError(out, isFloat(name) ? x : rounded(x, cols), weights, shape)).toBeLessThan(1)
    }
  })

  test('gives a token the same bits in every batch', () => {
    const rows = 40
    const cols = 1280
    const most = 70
    const p = product(name, rows, cols)
    const x = values(5, most * cols)
    const alone = Array.from({ length: most }, (_, t) =>
      one(table, 1, x.subarray(t * cols, (t + 1) * cols), 1, p),
    )
    for (let n = 1; n <= most; n++) {
      const out = one(table, 1, x.subarray(0, n * cols), n, p)
      for (let t = 0; t < n; t++) {
        const row = out.subarray(t * rows, (t + 1) * rows)
        if (!same(row, alone[t] ?? row.map(() => 0))) expect.fail(`token ${t} of ${n} differs`)
      }
    }
  })

  test('gives the same bits with any number of threads', () => {
    const p = product(name, 200, 512)
    const x = values(6, 150 * 512)
    const out = one(table, 1, x, 150, p)
    for (const threads of [2, 3, 5]) expect(same(one(table, threads, x, 150, p), out)).toBe(true)
  })

  test.each([1, 3, 20, 150])('gives %d tokens the same bits by the plain form', (n) => {
    const [rows, cols] = [117, 1280]
    const x = values(7, n * cols)
    const plain = one(table, 2, x, n, product(name, rows, cols, false))
    expect(same(one(table, 2, x, n, product(name, rows, cols)), plain)).toBe(true)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'shows an input of %d in every product of its token and in no other',
    (spoiler) => {
      const [rows, cols] = [20, 512]
      const p = product(name, rows, cols)
      for (const n of [1, 3, 40]) {
        const x = values(12, n * cols)
        const clean = one(table, 1, x, n, p)
        const token = n >> 1
        x[token * cols + 37] = spoiler
        const out = one(table, 1, x, n, p)
        out.forEach((value, i) => {
          if (Math.floor(i / rows) !== token) expect(value).toBe(clean[i])
          else if (Number.isFinite(value)) expect.fail(`Expected no finite product: ${value}`)
        })
      }
    },
  )

  test('packs into about the bytes of the file', () => {
    const file = native.encodeRow(name, new Float32Array(1024)).length * 64
    expect(native.packedBytes(table, name, 64, 1024)).toBeLessThanOrEqual(file * 1.2)
  })
})

describe.each(tables)('%s', (table) => {
  test('multiplies three products of different types by one input, with biases', () => {
    const cols = 512
    const n = 5
    const x = values(8, n * cols)
    const products = [
      { ...product('Q4_K', 48, cols, true, 1), bias: values(9, 48) },
      product('F16', 33, cols, true, 2),
      { ...product('Q6_K', 7, cols, true, 3), bias: values(10, 7) },
    ]
    const together = native.matmul(table, 2, x, n, products)
    products.forEach((p, i) => {
      const { bias, ...bare } = p
      const expected = one(table, 1, x, n, bare).map((v, j) =>
        bias ? Math.fround(v + (bias[j % p.rows] ?? 0)) : v,
      )
      expect(same(together[i] ?? new Float32Array(), expected)).toBe(true)
    })
  })

  test('multiplies a zero input to zero', () => {
    const out = one(table, 1, new Float32Array(256), 1, product('Q4_0', 20, 256))
    expect([...out].every((v) => v === 0)).toBe(true)
  })
})

// Root of the sum of squares of what is not exact.
function errorOf(
  out: ArrayLike<number>,
  x: Float32Array,
  weights: Float32Array,
  { n, rows, cols }: { n: number; rows: number; cols: number },
): number {
  let sum = 0
  for (let t = 0; t < n; t++)
    for (let r = 0; r < rows; r++) {
      let exact = 0
      for (let k = 0; k < cols; k++)
        exact += (x[t * cols + k] ?? Number.NaN) * (weights[r * cols + k] ?? Number.NaN)
      sum += ((out[t * rows + r] ?? Number.NaN) - exact) ** 2
    }
  return Math.sqrt(sum)
}

// What other engines do: the input rounded to the type of the weights, then f32.
describe.each(['F16', 'BF16'])('%s is more exact than by an input rounded to it', (type) => {
  const [rows, cols, n] = [64, 1024, 16]
  const shape = { n, rows, cols }
  const even = (seed: number, count: number) => values(seed, count)
  // A few of a hundred times the rest.
  const uneven = (seed: number, count: number) =>
    values(seed, count).map((v) => v * 100 ** (Math.abs(v) ** 20))
  const kinds = { even, uneven }
  const names = Object.keys(kinds) as (keyof typeof kinds)[]
  const pairs = names.flatMap((w) => names.map((x) => [w, x] as const))
  test.each(pairs)('%s weights, %s inputs', (ofWeights, ofInputs) => {
    const weight = native.encodeRow(type, kinds[ofWeights](21, rows * cols))
    const weights = native.decodeRow(type, weight, rows * cols)
    const x = kinds[ofInputs](22, n * cols)
    const rounded = native.decodeRow(type, native.encodeRow(type, x), n * cols)
    const usual = new Float64Array(n * rows)
    for (let t = 0; t < n; t++)
      for (let r = 0; r < rows; r++)
        for (let k = 0; k < cols; k++)
          usual[t * rows + r] =
            (usual[t * rows + r] ?? 0) + (rounded[t * cols + k] ?? 0) * (weights[r * cols + k] ?? 0)
    const limit = errorOf(usual, x, weights, shape)
    expect(limit).toBeGreaterThan(0)
    for (const table of tables) {
      const out = one(table, 1, x, n, { type, rows, packed: true, weight })
      expect(errorOf(out, x, weights, shape)).toBeLessThan(limit)
    }
  })
})

test.skipIf(tables.length < 2).each(types)('all tables agree bit for bit on $name', ({ name }) => {
  const p = product(name, 50, 768)
  for (const n of [11, 35]) {
    const x = values(n, n * 768)
    const outs = tables.map((table) => one(table, 1, x, n, p))
    for (const out of outs) expect(same(out, outs[0] ?? out)).toBe(true)
  }
})
