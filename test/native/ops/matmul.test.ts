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

// Whether a table multiplies a type by pairs of columns, its input rounded as its weights are.
const isPaired = (table: string, type: string, cols: number) =>
  table.endsWith('-bf16') && type === 'BF16' && cols % 2 === 0

// To the nearest bf16, ties to even.
function toBf16(x: Float32Array): Float32Array {
  const bits = new Uint32Array(Float32Array.from(x).buffer)
  return new Float32Array(
    bits.map((word) => (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000).buffer,
  )
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
      const exact = Math.fround(v * inverse)
      const down = Math.floor(exact)
      const above = exact - down
      const q = above > 0.5 || (above === 0.5 && down % 2 !== 0) ? down + 1 : down
      out[start + i] = q * step
    })
  }
  return out
}

// Largest |out - sum| over the bound that f32 additions in any fixed order keep: (terms + 4) half
// units in the last place of the sum of absolute products.
function worstError(
  out: Float32Array,
  x: Float32Array | Float64Array,
  weights: Float32Array,
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
  if (isFloat(name)) shapes.push({ rows: 17, cols: 43, n: 6 })

  test.each(shapes)('multiplies $rows x $cols by $n tokens as float64 does', (shape) => {
    const { rows, cols, n } = shape
    const p = product(name, rows, cols)
    const x = values(3, n * cols)
    const weights = native.decodeRow(name, p.weight, rows * cols)
    const out = one(table, 1, x, n, p)
    const floats = isPaired(table, name, cols) ? toBf16(x) : x
    const seen = isFloat(name) ? floats : rounded(x, cols)
    expect(worstError(out, seen, weights, shape)).toBeLessThan(1)
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

test.skipIf(tables.length < 2).each(types)('all tables agree bit for bit on $name', ({ name }) => {
  const p = product(name, 50, 768)
  for (const n of [11, 35]) {
    const x = values(n, n * 768)
    const alike = tables.filter((table) => !isPaired(table, name, 768))
    const outs = alike.map((table) => one(table, 1, x, n, p))
    for (const out of outs) expect(same(out, outs[0] ?? out)).toBe(true)
  }
})

// Products of bf16 are exact in f32: the instruction adds that of the second column, then that of
// the first, and rounds after each.
test.each(tables.filter((table) => isPaired(table, 'BF16', 768)))(
  '%s multiplies bf16 by pairs as its instruction is specified, bit for bit',
  (table) => {
    const [rows, cols, n] = [50, 768, 11]
    const p = product('BF16', rows, cols)
    const weights = native.decodeRow('BF16', p.weight, rows * cols)
    const x = values(8, n * cols)
    const seen = toBf16(x)
    const expected = new Float32Array(n * rows)
    for (let t = 0; t < n; t++)
      for (let r = 0; r < rows; r++) {
        const term = (k: number) => (weights[r * cols + k] ?? 0) * (seen[t * cols + k] ?? 0)
        let sum = 0
        for (let k = 0; k < cols; k += 2)
          sum = Math.fround(Math.fround(sum + term(k + 1)) + term(k))
        expected[t * rows + r] = sum
      }
    expect(same(one(table, 1, x, n, p), expected)).toBe(true)
  },
)
