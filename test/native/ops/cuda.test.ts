// The CUDA kernels in their host form: the runner's own rules, matmul against float64, the same
// bits under every schedule, and seeded faults that must be found. The other operators are tested
// with the tables of the CPU, in the files of their names.

import { afterEach, describe, expect, test } from 'vitest'
import {
  type AttentionCall,
  type Before,
  normals,
  ops,
  type Product,
  sameBits,
  tables,
  unit,
} from '../../support/ops.js'
import { probe } from '../../support/probe.js'

interface Site {
  kind: 'barrier' | 'wait'
  file: string
  line: number
}

const native = probe<{
  cudaSchedule(seed: number, osThreads: number): void
  cudaGroups(how: 0 | 1 | 2): void
  cudaKernels(): number
  cudaSites(collect: boolean): Site[]
  cudaSkip(site?: Site): void
  cudaRun(kernel: string, seed: number, threads: number, sharedBytes: number): string
  cudaEarly(when: 'before' | 'after' | 'never', seed: number): number | string
  cudaSharedStart(): Uint8Array
}>()

const built = tables.includes('cuda')
const seeds = Array.from({ length: 20 }, (_, i) => i + 1)

afterEach(() => {
  if (!built) return
  native.cudaSchedule(1, 1)
  native.cudaSkip()
  native.cudaSites(false)
  native.cudaGroups(1)
})

describe.skipIf(!built)('the runner of kernels', () => {
  const found = (kernel: string): string[] =>
    seeds.map((seed) => native.cudaRun(kernel, seed, 64, 256))

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
      expect(native.cudaEarly('before', seed)).toBe(0)
      expect(native.cudaEarly('after', seed)).toBe(1)
      expect(native.cudaEarly('never', seed)).toBe('a kernel does not wait for the one before it')
    }
  })

  test('refuses more shared memory or threads than a device has', () => {
    expect(native.cudaRun('none', 1, 64, 300_000)).toBe(
      'Expected at most 232448 bytes of shared memory but found 300000',
    )
    expect(native.cudaRun('none', 1, 2000, 0)).toBe(
      'Expected a block of 1..1024 threads but found 2000',
    )
  })

  test('starts a block with NaN in its shared memory', () => {
    expect([...native.cudaSharedStart()].every((byte) => byte === 0xff)).toBe(true)
  })
})

const product = (type: string, rows: number, cols: number, seed = 1): Product => ({
  type,
  rows,
  packed: true,
  weight: ops.encodeRow(type, normals(seed, rows * cols, 0.3)),
})

function multiply(x: Float32Array, n: number, p: Product): Float32Array {
  const out = ops.matmul('cuda', 1, x, n, [p])[0]
  if (!out) throw new Error('Expected one output')
  return out
}

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

/** As on a device that has no products of warpgroups, or whose round otherwise than those of warps. */
function withoutGroups<T>(run: () => T, how: 0 | 2 = 0): T {
  native.cudaGroups(how)
  try {
    return run()
  } finally {
    native.cudaGroups(1)
  }
}

test.skipIf(!built)('warpgroups are left alone where they round otherwise than warps', () => {
  const run = () => multiply(normals(1, 130 * 64), 130, product('F16', 20, 64))
  const filesOf = (out: () => Float32Array): [Float32Array, string[]] => {
    native.cudaSites(true)
    const values = out()
    return [values, native.cudaSites(false).map(({ file, kind }) => `${kind} ${file}`)]
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

// --- schedules and seeded faults ------------------------------------------------------------------

const shape = { heads: 4, kvHeads: 2, headDim: 32, cacheType: 'F16' as const }

/** The last token of one sequence of 150 attends after a prompt that came in two chunks. */
function attend(settings: Partial<AttentionCall> = {}): Float32Array {
  const { heads, kvHeads, headDim } = shape
  const length = 150
  const one = {
    q: normals(1, length * heads * headDim),
    k: normals(2, length * kvHeads * headDim),
    v: normals(3, length * kvHeads * headDim),
    out: new Float32Array(length * heads * headDim),
  }
  const steps = [Int32Array.of(0, 0, 140), Int32Array.of(0, 140, 9), Int32Array.of(0, 149, 1)]
  const call = { table: 'cuda', ...shape, scale: 0.2, fill: 255, sequences: [one], steps }
  ops.opsAttention({ ...call, ...settings })
  return one.out
}

const inverses = (pairs: number) =>
  Float32Array.from({ length: pairs }, (_, i) => 1e4 ** (-i / pairs))

/** Two sequences whose heads are normed and turned before they are stored; what came of the keys
 * belongs to it. */
function placed(settings: Partial<AttentionCall> = {}): Float32Array {
  const { heads, kvHeads, headDim } = { ...shape, ...settings }
  const norms = { qNorm: normals(7, headDim), kNorm: normals(8, headDim) }
  const sequences = [21, 5].map((length, i) => ({
    q: normals(10 * i + 1, length * heads * headDim),
    k: normals(10 * i + 2, length * kvHeads * headDim),
    v: normals(10 * i + 3, length * kvHeads * headDim),
    out: new Float32Array(length * heads * headDim),
  }))
  const steps = [Int32Array.of(0, 0, 20, 1, 0, 4), Int32Array.of(0, 20, 1, 1, 4, 1)]
  const turned = { ...norms, invFreq: inverses(headDim / 2), scale: 0.2, fill: 255 }
  ops.opsAttention({ table: 'cuda', ...shape, ...turned, sequences, steps, ...settings })
  return Float32Array.of(...sequences.flatMap(({ out, k }) => [...out, ...k]))
}

/** So many blocks that each walks its two ranges. */
function walk(): Float32Array {
  const [heads, headDim, length] = [2, 8, 194]
  const values = (seed: number) => normals(seed, length * heads * headDim)
  const sequences = [1, 5, 9].map((seed) => ({
    q: values(seed),
    k: values(seed + 1),
    v: values(seed + 2),
    out: values(seed + 3),
  }))
  const call = { table: 'cuda', heads, kvHeads: heads, headDim, cacheType: 'F16' as const }
  const steps = [
    Int32Array.of(0, 0, length - 1, 1, 0, length - 1, 2, 0, length - 1),
    Int32Array.of(0, length - 1, 1, 1, length - 1, 1, 2, length - 1, 1),
  ]
  ops.opsAttention({ ...call, scale: 0.3, sequences, steps })
  return Float32Array.from(sequences.flatMap(({ out }) => [...out]))
}

function norm(): Float32Array {
  const [n, dim] = [3, 700]
  const out = new Float32Array(n * dim)
  const weight = normals(2, dim)
  ops.opsNorm({ table: 'cuda', x: normals(1, n * dim), weight, out, n, dim, eps: 1e-5 })
  return out
}

/** Every warp of a preparing block has a largest value of its own, so that none can be missed. */
function uneven(seed: number, n: number, cols: number): Float32Array {
  return normals(seed, n * cols).map((v, i) => v * 2 ** (Math.floor((i % cols) / 128) % 16))
}

/** Some products after the norm or the gate that writes their input, and that input. */
function productAfter(before: (n: number, cols: number) => Before, types = ['F16', 'Q8_0']) {
  const [n, cols] = [3, 704]
  const products = types.map((type) => product(type, 24, cols))
  const x = new Float32Array(n * cols)
  const outs = ops.matmul('cuda', 1, x, n, products, before(n, cols))
  return Float32Array.of(...outs.flatMap((out) => [...out]), ...x)
}

const afterNorm = (n: number, cols: number) => ({
  x: uneven(1, n, cols),
  add: normals(2, n * cols),
  weight: normals(3, cols),
})

const afterGate = (n: number, cols: number) => ({
  gate: uneven(1, n, cols),
  up: normals(2, n * cols),
})

/** 129 tokens through two products, a gate and a third; each of the first two has biases. */
function feedForward(hidden: number, isPassedOn: boolean, types = ['BF16', 'BF16', 'BF16']) {
  const [n, cols] = [129, 128]
  const [gate, up, down] = types.map((type, i) =>
    i < 2 ? product(type, hidden, cols, i + 1) : product(type, 24, hidden),
  )
  if (!gate || !up || !down) throw new Error('Expected three types')
  const biases = [normals(20, hidden), normals(22, hidden)] as const
  const first = { ...gate, bias: biases[0] }
  const second = { ...up, bias: biases[1] }
  return ops.feedForward('cuda', normals(21, n * cols), n, first, second, down, isPassedOn)
}

/** The second row has its best where few threads look, and the bound has to be moved. */
function topK(): Float32Array {
  const [width, k] = [20_000, 40]
  const x = normals(5, 2 * width).map((v, i) =>
    i >= width && (i - width) % 1024 < 60 ? 9 + (i % 997) : v,
  )
  const [indices, values] = [new Int32Array(2 * k), new Float32Array(2 * k)]
  ops.opsTopK({ table: 'cuda', x, indices, values, k })
  return Float32Array.of(...indices, ...values)
}

/** Rows whose cut lies in a bin of too many, with changes and sums. */
function sample(): Float32Array {
  const width = 6000
  const x = normals(6, 4 * width).map((v, i) => (i < width && i % 3 ? 1 + (i % 7) * 1e-6 : v))
  const rows = [
    { topP: 0.7, uniform: 0.6 },
    { topK: 2500, topP: 0.9, uniform: 0.3, wantsSum: 1 },
    { uniform: 0.99, presencePenalty: 1, wantsSum: 1, changes: [{ token: 5, inOutput: 2 }] },
    // The token that is drawn has changed, by a thread of the third warp.
    {
      changes: Array.from({ length: 90 }, (_, token) => ({ token, bias: token === 70 ? 50 : 1 })),
    },
  ]
  const told = new Float64Array(16)
  ops.opsSample({ table: 'cuda', x, rows, told })
  return Float32Array.of(...told, ...x.subarray(2 * width, 2 * width + 100))
}

const counted = (run: () => Float32Array) => {
  const first = native.cudaKernels()
  return { out: run(), kernels: native.cudaKernels() - first }
}

test.skipIf(!built).each([
  ['a norm', afterNorm],
  ['a gate', afterGate],
])('a product takes over %s before it, to the same bits', (_, before) => {
  for (const types of [['F16', 'Q8_0'], ['BF16'], ['Q4_K', 'BF16', 'Q6_K']]) {
    const one = counted(() => productAfter(before, types))
    const two = counted(() => productAfter((...at) => ({ ...before(...at), apart: true }), types))
    expect(sameBits(one.out, two.out)).toBe(true)
    expect(two.kernels - one.kernels).toBe(1)
  }
})

test.skipIf(!built).each([
  { hidden: 192, types: ['BF16', 'BF16', 'BF16'], fewer: 1 }, // blocks of 128 tokens
  { hidden: 64, types: ['BF16', 'BF16', 'BF16'], fewer: 1 }, // and of 64
  { hidden: 80, types: ['BF16', 'BF16', 'BF16'], fewer: 0 }, // a tile is not full
  { hidden: 192, types: ['BF16', 'BF16', 'Q8_0'], fewer: 0 },
  { hidden: 192, types: ['BF16', 'F16', 'BF16'], fewer: 0 },
  { hidden: 192, types: ['F16', 'F16', 'F16'], fewer: 0 },
])(
  'two products of $types and a gate of $hidden become one kernel where they can, to the same bits',
  ({ hidden, types, fewer }) => {
    const apart = counted(() => feedForward(hidden, false, types))
    const together = counted(() => feedForward(hidden, true, types))
    expect(sameBits(together.out, apart.out)).toBe(true)
    expect(apart.kernels - together.kernels).toBe(fewer)
    const alone = counted(() => withoutGroups(() => feedForward(hidden, true, types)))
    expect(sameBits(alone.out, apart.out)).toBe(true)
  },
)

/** Prompts, then decodes, whose heads go into a product of BF16; ranges are joined or walked. */
function mixed(settings: Partial<AttentionCall> = {}): Float32Array {
  const [heads, headDim, length] = [4, 32, 150]
  const values = (seed: number) => normals(seed, length * heads * headDim)
  const sequences = [1, 5].map((seed) => ({
    q: values(seed),
    k: values(seed + 1).subarray(0, (length * heads * headDim) / 2),
    v: values(seed + 2).subarray(0, (length * heads * headDim) / 2),
    out: new Float32Array(length * heads * headDim),
  }))
  const { weight: mixer } = product('BF16', heads * headDim, heads * headDim)
  const steps = [Int32Array.of(0, 0, 149, 1, 0, 2), Int32Array.of(0, 149, 1, 1, 2, 1)]
  const call = { table: 'cuda', heads, kvHeads: 2, headDim, cacheType: 'F16' as const, mixer }
  ops.opsAttention({ ...call, scale: 0.2, fill: 255, sequences, steps, ...settings })
  return Float32Array.of(...sequences.flatMap(({ out }) => [...out]))
}

test.skipIf(!built)('attention rounds what a product of BF16 takes, to the same bits', () => {
  const apart = counted(() => mixed())
  const passed = counted(() => mixed({ passedTo: 'BF16' }))
  expect(sameBits(passed.out, apart.out)).toBe(true)
  expect(apart.kernels - passed.kernels).toBe(2)
  const f32 = counted(() => mixed({ passedTo: 'BF16', cacheType: 'F32' }))
  expect(f32.kernels).toBe(apart.kernels - 1) // one kernel for both kinds of lines
  expect(sameBits(f32.out, mixed({ cacheType: 'F32' }))).toBe(true)
})

const halfTurned = { headDim: 24, invFreq: inverses(5) }

test.skipIf(!built).each([
  { name: 'norms and ropes', settings: {}, fewer: 4 },
  { name: 'ropes', settings: { qNorm: undefined, kNorm: undefined }, fewer: 2 },
  { name: 'a norm of keys', settings: { qNorm: undefined }, fewer: 3 },
  { name: 'a norm of queries', settings: { kNorm: undefined }, fewer: 3 },
  { name: 'ropes of neighbours', settings: { headDim: 128, adjacent: true }, fewer: 4 },
  { name: 'ropes of a part', settings: { ...halfTurned, cacheType: 'F32' as const }, fewer: 4 },
  { name: 'ropes before a q8_0 cache', settings: { cacheType: 'Q8_0' as const }, fewer: 4 },
  { name: 'many heads', settings: { heads: 24, kvHeads: 6, headDim: 64 }, fewer: 4 },
  { name: 'nothing of long heads', settings: { headDim: 160 }, fewer: 0 },
])('a store takes over $name before it, to the same bits', ({ settings, fewer }) => {
  const one = counted(() => placed(settings))
  const two = counted(() => placed({ ...settings, apart: true }))
  expect(sameBits(one.out, two.out)).toBe(true)
  expect(two.kernels - one.kernels).toBe(2 * fewer)
})

const cases = [
  { name: 'top-k', run: topK },
  { name: 'sample', run: sample },
  { name: 'norm', run: norm },
  { name: 'a product after a norm', run: () => productAfter(afterNorm) },
  { name: 'a product after a gate', run: () => productAfter(afterGate) },
  { name: 'a store after norms and ropes', run: () => placed() },
  { name: 'attention on an f16 cache', run: () => attend() },
  { name: 'attention in many blocks', run: walk },
  { name: 'attention before a product of BF16', run: () => mixed({ passedTo: 'BF16' }) },
  { name: 'attention on a q8_0 cache', run: () => attend({ cacheType: 'Q8_0' }) },
  {
    name: 'matmul, few tokens',
    run: () => multiply(uneven(1, 1, 2048), 1, product('Q4_K', 24, 2048)),
  },
  {
    name: 'matmul, many tokens',
    run: () => multiply(uneven(1, 70, 2048), 70, product('Q8_0', 24, 2048)),
  },
  {
    name: 'matmul, blocks of 128 tokens',
    run: () => withoutGroups(() => multiply(uneven(1, 129, 512), 129, product('F16', 24, 512))),
  },
  {
    name: 'matmul, warpgroups',
    run: () => multiply(uneven(1, 129, 320), 129, product('F16', 150, 320)),
  },
  {
    name: 'matmul, warpgroups and a gate',
    run: () => feedForward(192, true),
  },
  {
    name: 'matmul, warpgroups and few rows',
    run: () => multiply(uneven(1, 129, 768), 129, product('BF16', 24, 768)),
  },
]

test.skipIf(!built).each(cases)(
  '$name gives the same bits under 20 schedules and with two OS threads',
  ({ run }) => {
    const expected = run()
    for (const seed of seeds) {
      native.cudaSchedule(seed, (seed % 2) + 1)
      expect(sameBits(run(), expected), `schedule ${seed}`).toBe(true)
    }
  },
)

// Most faults show at once; few need two blocks to meet at the right moment.
const mostSchedules = 200

/** Whether a case is wrong or stopped under one of the first schedules. */
function isCaught(run: () => Float32Array, expected: Float32Array): boolean {
  return Array.from({ length: mostSchedules }, (_, i) => i + 1).some((seed) => {
    native.cudaSchedule(seed, 1)
    try {
      return !sameBits(run(), expected)
    } catch {
      return true
    }
  })
}

test.skipIf(!built)(
  'no barrier and no wait can be taken out without being missed',
  {
    timeout: 120_000,
  },
  () => {
    const expected = cases.map(({ run }) => run())
    const sites = new Map<string, { site: Site; cases: number[] }>()
    cases.forEach(({ run }, i) => {
      native.cudaSites(true)
      run()
      for (const site of native.cudaSites(false)) {
        const name = `${site.kind} at ${site.file.split('/').at(-1)}:${site.line}`
        const known = sites.get(name) ?? { site, cases: [] }
        sites.set(name, { site, cases: [...known.cases, i] })
      }
    })
    expect(sites.size).toBeGreaterThan(8)
    const unmissed = [...sites].filter(([, { site, cases: using }]) => {
      native.cudaSkip(site)
      return !using.some((i) => {
        const one = cases[i]
        const right = expected[i]
        return one && right && isCaught(one.run, right)
      })
    })
    expect(unmissed.map(([name]) => name)).toEqual([])
  },
)

test.skipIf(!built)('attention that reads the page after the right one is wrong', () => {
  expect(sameBits(attend({ pageShift: 1 }), attend())).toBe(false)
})

test.skipIf(!built).each(['F32', 'F16'] as const)(
  'attention on %s is the same whether blocks share ranges or walk them alone',
  (cacheType) => {
    const [heads, length] = [4, 260]
    const make = () => ({
      q: normals(1, length * heads * 8),
      k: normals(2, length * heads * 8),
      v: normals(3, length * heads * 8),
      out: new Float32Array(length * heads * 8),
    })
    const call = { table: 'cuda', heads, kvHeads: heads, headDim: 8, scale: 0.3 }
    const [whole, pieces] = [make(), make()]
    const run = (one: typeof whole, steps: Int32Array[]): void =>
      ops.opsAttention({ ...call, cacheType, sequences: [one], steps })
    run(whole, [Int32Array.of(0, 0, length)]) // 5 tiles or more of 4 heads: each walks its ranges
    run(
      pieces,
      Array.from({ length: 26 }, (_, i) => Int32Array.of(0, i * 10, 10)), // 4 blocks: shared
    )
    expect(sameBits(pieces.out, whole.out)).toBe(true)
  },
)
