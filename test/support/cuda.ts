// The kernels of the CUDA library in their host form: calls of each that tests of them share.

import { type AttentionCall, type Before, normals, ops, type Product, tables } from './ops.js'
import { probe } from './probe.js'

export interface Site {
  kind: 'barrier' | 'wait'
  file: string
  line: number
}

export const cuda = probe<{
  cudaSchedule(seed: number, osThreads: number): void
  cudaGroups(how: 0 | 1 | 2): void
  cudaKernels(): number
  cudaSites(collect: boolean): Site[]
  cudaSkip(site?: Site): void
  cudaRun(kernel: string, seed: number, threads: number, sharedBytes: number): string
  cudaEarly(when: 'before' | 'after' | 'never', seed: number): number | string
  cudaSharedStart(): Uint8Array
}>()

export const built = tables.includes('cuda')
export const seeds = Array.from({ length: 20 }, (_, i) => i + 1)

/** As it was: for afterEach. */
export function resetCuda(): void {
  if (!built) return
  cuda.cudaSchedule(1, 1)
  cuda.cudaSkip()
  cuda.cudaSites(false)
  cuda.cudaGroups(1)
}

export const product = (type: string, rows: number, cols: number, seed = 1): Product => ({
  type,
  rows,
  packed: true,
  weight: ops.encodeRow(type, normals(seed, rows * cols, 0.3)),
})

export function multiply(x: Float32Array, n: number, p: Product): Float32Array {
  const out = ops.matmul('cuda', 1, x, n, [p])[0]
  if (!out) throw new Error('Expected one output')
  return out
}

/** As on a device that has no products of warpgroups, or whose round otherwise than those of warps. */
export function withoutGroups<T>(run: () => T, how: 0 | 2 = 0): T {
  cuda.cudaGroups(how)
  try {
    return run()
  } finally {
    cuda.cudaGroups(1)
  }
}

export const shape = { heads: 4, kvHeads: 2, headDim: 32, cacheType: 'F16' as const }

/** The last token of one sequence of 150 attends after a prompt that came in two chunks. */
export function attend(settings: Partial<AttentionCall> = {}): Float32Array {
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

export const inverses = (pairs: number) =>
  Float32Array.from({ length: pairs }, (_, i) => 1e4 ** (-i / pairs))

/** Two sequences whose heads are normed and turned before they are stored; what came of the keys
 * belongs to it. */
export function placed(settings: Partial<AttentionCall> = {}): Float32Array {
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

/** Of all three sequences so many blocks that each walks its two ranges. */
export function walk(which = [0, 1, 2]): Float32Array {
  const [heads, headDim, length] = [2, 8, 194]
  const values = (seed: number) => normals(seed, length * heads * headDim)
  const all = [1, 5, 9].map((seed) => ({
    q: values(seed),
    k: values(seed + 1),
    v: values(seed + 2),
    out: values(seed + 3),
  }))
  const call = { table: 'cuda', heads, kvHeads: heads, headDim, cacheType: 'F16' as const }
  const sequences = all.filter((_, i) => which.includes(i))
  const steps = [
    Int32Array.of(...sequences.flatMap((_, i) => [i, 0, length - 1])),
    Int32Array.of(...sequences.flatMap((_, i) => [i, length - 1, 1])),
  ]
  ops.opsAttention({ ...call, scale: 0.3, sequences, steps })
  return Float32Array.from(sequences.flatMap(({ out }) => [...out]))
}

export function norm(): Float32Array {
  const [n, dim] = [3, 700]
  const out = new Float32Array(n * dim)
  const weight = normals(2, dim)
  ops.opsNorm({ table: 'cuda', x: normals(1, n * dim), weight, out, n, dim, eps: 1e-5 })
  return out
}

/** Every warp of a preparing block has a largest value of its own, so that none can be missed. */
export function uneven(seed: number, n: number, cols: number): Float32Array {
  return normals(seed, n * cols).map((v, i) => v * 2 ** (Math.floor((i % cols) / 128) % 16))
}

/** Some products after the norm or the gate that writes their input, and that input. */
export function productAfter(before: (n: number, cols: number) => Before, types = ['F16', 'Q8_0']) {
  const [n, cols] = [3, 704]
  const products = types.map((type) => product(type, 24, cols))
  const x = new Float32Array(n * cols)
  const outs = ops.matmul('cuda', 1, x, n, products, before(n, cols))
  return Float32Array.of(...outs.flatMap((out) => [...out]), ...x)
}

export const afterNorm = (n: number, cols: number) => ({
  x: uneven(1, n, cols),
  add: normals(2, n * cols),
  weight: normals(3, cols),
})

export const afterGate = (n: number, cols: number) => ({
  gate: uneven(1, n, cols),
  up: normals(2, n * cols),
})

/** 129 tokens through two products, a gate and a third; each of the first two has biases. */
export function feedForward(hidden: number, isPassedOn: boolean, types = ['BF16', 'BF16', 'BF16']) {
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
export function topK(): Float32Array {
  const [width, k] = [20_000, 40]
  const x = normals(5, 2 * width).map((v, i) =>
    i >= width && (i - width) % 1024 < 60 ? 9 + (i % 997) : v,
  )
  const [indices, values] = [new Int32Array(2 * k), new Float32Array(2 * k)]
  ops.opsTopK({ table: 'cuda', x, indices, values, k })
  return Float32Array.of(...indices, ...values)
}

/** Rows whose cut lies in a bin of too many, with changes and sums. */
export function sample(): Float32Array {
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

export const counted = (run: () => Float32Array) => {
  const first = cuda.cudaKernels()
  return { out: run(), kernels: cuda.cudaKernels() - first }
}

/** Prompts, then decodes, whose heads go into a product of BF16; ranges are joined or walked. */
export function mixed(settings: Partial<AttentionCall> = {}): Float32Array {
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
